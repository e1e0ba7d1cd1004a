// A directory of configuration files for one test; removed at its end.
#pragma once

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/loader.h"

namespace mtd::test {

class ConfigTree {
 public:
  ConfigTree() {
    char name[] = "/tmp/mtd-config-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ConfigTree(const ConfigTree&) = delete;
  ConfigTree& operator=(const ConfigTree&) = delete;
  ~ConfigTree() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  // Directories in `name` are made; mode 0644 below 0755 whatever the umask.
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path(name);
    for (auto part = file.parent_path(); part != path_ && !std::filesystem::exists(part);
         part = part.parent_path()) {
      missing_.push_back(part);
    }
    for (; !missing_.empty(); missing_.pop_back()) {
      REQUIRE(::mkdir(missing_.back().c_str(), 0755) == 0);
      REQUIRE(::chmod(missing_.back().c_str(), 0755) == 0);
    }
    std::ofstream(file, std::ios::binary) << text;
    REQUIRE(::chmod(file.c_str(), 0644) == 0);
    return file;
  }
  [[nodiscard]] std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }
  [[nodiscard]] config::LoadResult load(const std::string& name = "") const {
    return config::load({path(name), true});
  }
  // The errors without the path of the tree: "mtd.json:1:2: …".
  [[nodiscard]] std::vector<std::string> errors(const std::string& name = "") const {
    std::vector<std::string> texts;
    for (const config::Problem& problem : load(name).errors)
      texts.push_back(without_path(problem.text()));
    return texts;
  }
  [[nodiscard]] std::string without_path(std::string text) const {
    for (std::size_t at = text.find(path_ + "/"); at != std::string::npos;
         at = text.find(path_ + "/")) {
      text.erase(at, path_.size() + 1);
    }
    return text;
  }

 private:
  std::string path_;
  mutable std::vector<std::filesystem::path> missing_;
};

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines)
    text += line + "\n";
  return text;
}

// The one pool of a configuration that must be right.
inline config::PoolSpec pool_of(const config::LoadResult& result) {
  std::string errors;
  for (const config::Problem& problem : result.errors)
    errors += problem.text() + "\n";
  REQUIRE_MESSAGE(result.errors.empty(), errors);
  REQUIRE(result.configuration.pools.size() == 1);
  return result.configuration.pools.front();
}

// A pool "web" whose members are `members`; command is /bin/true where they do not give it.
inline config::LoadResult load_pool(const std::string& members) {
  const ConfigTree tree;
  const bool command = members.find("\"command\"") != std::string::npos;
  tree.write("mtd.json", "{\"pools\": {\"web\": {" +
                             std::string(command ? "" : "\"command\": [\"/bin/true\"]") +
                             (command || members.empty() ? "" : ", ") + members + "}}}");
  return tree.load();
}

}  // namespace mtd::test
