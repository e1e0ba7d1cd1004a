#include "config/sources.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "config/document.h"
#include "config/identity.h"
#include "config/read_file.h"

namespace mtd::config {
namespace {

constexpr std::size_t kMaxFiles = 4096;

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 || errno != ENOENT;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

class Reader {
 public:
  Reader(const Source& source, Problems& problems) : source_(source), problems_(problems) {}

  Sources run() {
    const std::string path = source_.path.empty() ? default_path() : source_.path;
    if (is_directory(path)) {
      read_tree(path);
    } else {
      add_document(path, true);
    }
    return std::move(sources_);
  }

 private:
  // A file must hold an object. Empty after an error.
  std::optional<Node> read_document(const std::string& path) {
    const std::uint32_t file = problems_.add_file(path);
    sources_.files.push_back(path);
    const auto text = read_file(path, source_.check_ownership);
    if (!text) {
      problems_.error({file, 0, 0}, text.error().message);
      return std::nullopt;
    }
    auto root = parse_document(*text, file, problems_);
    if (root && root->as<Object>() == nullptr) {
      problems_.error(root->place,
                      "must hold an object, like {\"pools\": {…}}, not " + brief(*root));
      return std::nullopt;
    }
    return root;
  }

  void add_document(const std::string& path, bool main) {
    if (auto root = read_document(path)) sources_.documents.push_back({std::move(*root), main});
  }

  void read_tree(const std::string& directory) {
    const std::string main = directory + "/mtd.json";
    const std::string pools = directory + "/pools.d";
    const bool has_main = exists(main);
    if (has_main) add_document(main, true);
    const std::vector<std::string> names = list(pools);
    for (const std::string& name : names) {
      if (!name.ends_with(".json.d")) read_pool_file(pools + "/" + name);
    }
    for (const std::string& name : names) {
      const std::string file = name.substr(0, name.size() - 2);
      if (name.ends_with(".json.d") && std::find(names.begin(), names.end(), file) == names.end()) {
        problems_.warn({problems_.add_file(pools + "/" + name), 0, 0},
                       "is not used: there is no file " + file);
      }
    }
    if (!has_main && sources_.files.empty()) {
      problems_.error({problems_.add_file(directory), 0, 0},
                      "holds neither mtd.json nor pools.d/*.json");
    }
  }

  void read_pool_file(const std::string& path) {
    auto root = read_document(path);
    const std::string folder = path + ".d";
    for (const std::string& name : list(folder)) {
      if (name.ends_with(".json.d")) continue;
      auto patch = read_document(folder + "/" + name);
      if (!patch || !root) continue;
      for (const Place place : merge(*root, std::move(*patch))) {
        problems_.warn(place, "null deletes a key that is not there");
      }
    }
    if (root) sources_.documents.push_back({std::move(*root), false});
  }

  // *.json and *.json.d, sorted by name; none when there is no such directory.
  std::vector<std::string> list(const std::string& directory) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), &::closedir);
    if (stream == nullptr) {
      if (errno != ENOENT) fail(directory, errno);
      return {};
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string name = entry->d_name;
      if (!name.starts_with(".") && (name.ends_with(".json") || name.ends_with(".json.d")))
        names.push_back(name);
      if (names.size() > kMaxFiles) {
        problems_.error({problems_.add_file(directory), 0, 0},
                        "holds more than " + std::to_string(kMaxFiles) + " files");
        return {};
      }
      errno = 0;
    }
    if (errno != 0) fail(directory, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  void fail(const std::string& path, int error) {
    problems_.error({problems_.add_file(path), 0, 0},
                    Error::from_errno("cannot be read", error).message);
  }

  const Source& source_;
  Problems& problems_;
  Sources sources_;
};

}  // namespace

std::string default_path() {
  if (::geteuid() == 0) return "/etc/mtd";
  const char* config_home = std::getenv("XDG_CONFIG_HOME");
  if (config_home != nullptr && config_home[0] == '/') return std::string(config_home) + "/mtd";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.config/mtd";
  return own_identity().home + "/.config/mtd";
}

Sources read_sources(const Source& source, Problems& problems) {
  return Reader(source, problems).run();
}

}  // namespace mtd::config
