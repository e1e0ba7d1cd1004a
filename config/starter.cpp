#include <algorithm>

#include "config/keys.h"
#include "config/tools.h"

namespace mtd::config {
namespace {

// What the starter shows of the table of keys: a key with an example, in force or as a comment.
struct StarterKey {
  std::string_view path;
  std::string_view example;  // JSON
  bool in_force = false;
};
constexpr StarterKey kStarterKeys[] = {
    {"command", R"(["/bin/sh", "-c", "echo \"worker $$MTD_WORKER_ID runs\"; exec sleep infinity"])",
     true},
    {"workers", "2", true},
    {"user", "\"nobody\"", false},
    {"cwd", "\"/tmp\"", false},
    {"env", R"({"COLOUR": "blue"})", false},
    {"env_pass", "[\"TZ\"]", false},
    {"ready", "\"notify\"", false},
    {"restart", "\"on-failure\"", false},
    {"stop.timeout", "\"30s\"", false},
    {"recycle.max_tasks", "1000", false},
    {"log.to", "\"inherit\"", false},
    {"listen", "\"tcp:127.0.0.1:8080\"", false},
    {"rlimits", R"({"core": 0})", false},
    {"sandbox.no_new_privs", "true", false},
};

constexpr std::size_t kIndent = 6;
constexpr std::size_t kWidth = 90;

std::string_view doc_of(std::string_view path) {
  for (const PoolKey& key : pool_keys()) {
    if (key.info.path == path) return key.info.doc;
  }
  return {};
}

// "// word word", line by line.
std::string comment(std::string_view text) {
  const std::string begin = std::string(kIndent, ' ') + "//";
  std::string result, line = begin;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (line.size() + 1 + end > kWidth && line != begin) {
      result += line + "\n";
      line = begin;
    }
    line += " " + std::string(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result + line + "\n";
}

// "workers": 2, or "stop": {"timeout": "30s"},
std::string member(const StarterKey& key) {
  const std::size_t dot = key.path.find('.');
  const std::string outer(key.path.substr(0, dot));
  if (dot == std::string_view::npos) return "\"" + outer + "\": " + std::string(key.example) + ",";
  return "\"" + outer + "\": {\"" + std::string(key.path.substr(dot + 1)) +
         "\": " + std::string(key.example) + "},";
}

}  // namespace

std::string starter() {
  std::string text =
      "// Configuration of mtd. Every key and its default: man mtd.json. After a change:\n"
      "//     mtctl config check    what is wrong with it, if anything\n"
      "//     mtctl reload          puts it in force, worker by worker\n"
      "{\n"
      "  \"pools\": {\n"
      "    // A pool is a number of workers that run the same program. This is its name.\n"
      "    \"example\": {\n";
  for (const StarterKey& key : kStarterKeys) {
    text += comment(doc_of(key.path));
    text += std::string(kIndent, ' ') + (key.in_force ? "" : "// ") + member(key) + "\n";
  }
  return text + "    },\n  },\n}\n";
}

}  // namespace mtd::config
