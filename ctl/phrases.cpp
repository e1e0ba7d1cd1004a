#include "ctl/phrases.h"

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/size.h"
#include "common/time.h"
#include "ctl/json_access.h"

namespace mtd::ctl {
namespace {

std::string readable_cause(std::string cause) {
  for (char& c : cause) {
    if (c == '_') c = ' ';
  }
  return cause;
}

// How the process ended, as wait(2) has it: "exit 3", "signal 9 (KILL)"; empty when not known.
std::string status_phrase(const Json& exit) {
  if (const auto code = integer(exit, "code")) return "exit " + std::to_string(*code);
  const auto signal = integer(exit, "signal");
  if (!signal) return {};
  std::string name = safe_text(exit, "signal_name");
  if (name.rfind("SIG", 0) == 0) name.erase(0, 3);
  return "signal " + std::to_string(*signal) + (name.empty() ? "" : " (" + name + ")");
}

std::string start_failure(const Json& exit, const std::string& cause) {
  std::string result = cause == "spawn_failed" ? "not started" : "start failed";
  if (const std::string stage = safe_text(exit, "stage"); !stage.empty()) result += ": " + stage;
  if (const std::string name = safe_text(exit, "errno_name"); !name.empty()) result += ": " + name;
  return result;
}

}  // namespace

std::string exit_phrase(const Json& exit) {
  if (!exit.is_object()) return {};
  const std::string cause = safe_text(exit, "cause");
  const std::string status = status_phrase(exit);
  const std::string core = is_true(exit, "core") ? ", core dumped" : "";
  if (cause == "spawn_failed" || cause == "start_failed") return start_failure(exit, cause);
  if (cause == "exit" || cause == "signal" || cause == "core") {
    return (status.empty() ? cause : status) + core;
  }
  if (cause == "oom") return "oom-killed";
  return readable_cause(cause) + (status.empty() ? "" : ": " + status + core);
}

std::string duration_phrase(std::optional<std::int64_t> milliseconds) {
  return milliseconds ? format_duration_brief(Duration::milliseconds(*milliseconds)) : "-";
}

std::string number_phrase(std::optional<std::int64_t> number) {
  return number ? std::to_string(*number) : "-";
}

std::string size_phrase(std::optional<std::int64_t> bytes) {
  if (!bytes || *bytes < 0) return "-";
  return format_size(Size{static_cast<std::uint64_t>(*bytes)});
}

std::string percent_phrase(const Json& number) {
  if (!number.is_number()) return "-";
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1f%%", number.get<double>());
  return buffer.data();
}

std::string counted(std::int64_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

}  // namespace mtd::ctl
