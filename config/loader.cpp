#include "config/loader.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "common/escape.h"
#include "common/names.h"
#include "config/expand.h"
#include "config/identity.h"
#include "config/keys.h"
#include "config/listen.h"
#include "config/order.h"
#include "config/problems.h"
#include "config/read_keys.h"
#include "config/resolve.h"
#include "config/sources.h"

namespace mtd::config {
namespace {

// With room for the names of SQLite's files.
constexpr std::size_t kMaxDirectoryPath = 400;

constexpr std::size_t kMaxPools = 1024;

const Node* find_path(const Node& top, std::string_view path) {
  const Node* node = &top;
  while (node != nullptr && !path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    node = node->member(path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return node;
}

class Loader {
 public:
  explicit Loader(const Source& source) : source_(source) {
    options_.check_ownership = source.check_ownership;
    options_.start = start_environment();
  }

  LoadResult run() {
    const Sources sources = read_sources(source_, problems_);
    result_.configuration.files = sources.files;
    for (const Document& document : sources.documents)
      read_root(document);
    for (const auto& [name, pool] : pools_) {
      result_.configuration.pools.push_back(
          resolve_pool(*pool, options_, problems_, result_.configuration.files));
      note_origins(*pool, pool_keys(), "pools." + name + ".");
    }
    check_total();
    check_task_workers();
    check_addresses();
    check_dependencies();
    result_.configuration.warnings = problems_.take_warnings();
    result_.errors = problems_.take_errors();
    return std::move(result_);
  }

 private:
  void read_root(const Document& document) {
    if (document.main) {
      read_daemon(document.root);
    } else {
      refuse_daemon_keys(document.root);
    }
    const Node* pools = document.root.member("pools");
    if (pools == nullptr) return;
    if (pools->as<Object>() == nullptr) {
      problems_.error(
          pools->place,
          "pools: must be an object, like {\"web\": {\"command\": …}}, not " + brief(*pools));
      return;
    }
    for (const Node& pool : pools->as<Object>()->members)
      add_pool(pool);
  }

  void refuse_daemon_keys(const Node& root) {
    for (const Node& member : root.as<Object>()->members) {
      if (member.name == "pools" || is_ignored_key(member.name)) continue;
      const std::string shown = "\"" + escape_for_terminal(member.name.substr(0, 64)) + "\"";
      const bool of_daemon = std::any_of(
          daemon_keys().begin(), daemon_keys().end(),
          [&](const DaemonKey& key) { return key.info.path.starts_with(member.name + "."); });
      problems_.error(member.name_place,
                      of_daemon
                          ? shown + " belongs in mtd.json; files in pools.d hold \"pools\" only"
                          : "unknown key " + shown + "; files in pools.d hold \"pools\" only");
    }
  }

  void add_pool(const Node& pool) {
    const std::string shown = "\"" + escape_for_terminal(pool.name.substr(0, 80)) + "\"";
    if (is_ignored_key(pool.name)) {
      problems_.warn(pool.name_place,
                     "pools: " + shown + " is ignored, as every key that begins with $ or x-");
    } else if (!is_valid_name(pool.name)) {
      problems_.error(pool.name_place, "pools: " + shown +
                                           " is no name for a pool; up to 64 letters, digits, "
                                           "\"_\", \".\" and \"-\", the first a letter or digit");
    } else if (pool.as<Object>() == nullptr) {
      problems_.error(
          pool.place,
          "pools." + pool.name + ": must be an object, like {\"command\": …}, not " + brief(pool));
    } else if (const auto found = pools_.find(pool.name); found != pools_.end()) {
      problems_.error(pool.name_place,
                      "pools." + pool.name + ": is in " +
                          problems_.where(found->second->name_place) +
                          " too; a pool stands in one file, and drop-ins change it");
    } else if (pools_.size() >= kMaxPools) {
      problems_.error(pool.name_place,
                      "pools." + pool.name + ": more than " + std::to_string(kMaxPools) + " pools");
    } else {
      pools_.emplace(pool.name, &pool);
    }
  }

  void read_daemon(const Node& root) {
    DaemonSpec& daemon = result_.configuration.daemon;
    const Given given = read_keys(daemon_keys(), root, "", problems_, daemon, {"pools"});
    note_origins(root, daemon_keys(), "");
    if (const auto found = given.find("limits.processes"); found != given.end())
      processes_ = found->second->place;
    if (const auto found = given.find("control.socket"); found != given.end()) {
      daemon.control_socket = daemon_path(*found->second, "control.socket", kMaxSocketPath);
    }
    const auto group = [&](std::string_view key) -> std::optional<std::uint32_t> {
      const auto found = given.find(key);
      if (found == given.end()) return std::nullopt;
      const auto gid = resolve_group(*found->second->as<std::string>());
      if (gid) return *gid;
      problems_.error(found->second->place, std::string(key) + ": " + gid.error().message);
      return std::nullopt;
    };
    daemon.operate_gid = group("control.group");
    daemon.readonly_gid = group("control.readonly_group");
    const auto user = given.find("tasks.user");
    task_user(user == given.end() ? nullptr : user->second);
    if (const auto found = given.find("tasks.directory"); found != given.end())
      task_directory(*found->second);
  }

  // What can be said before the broker makes it, and its parent, itself. It may be there later, so
  // that this is no error.
  void task_directory(const Node& node) {
    std::string& path = result_.configuration.daemon.task_directory;
    path = daemon_path(node, "tasks.directory", kMaxDirectoryPath);
    if (path.empty()) return;
    std::string there = path;
    struct stat info {};
    int missing = 0;
    while (::stat(there.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR) &&
           there != "/") {
      there.resize(std::max<std::size_t>(there.rfind('/'), 1));
      ++missing;
    }
    struct statvfs system {};
    std::string wrong;
    if (info.st_mode != 0 && !S_ISDIR(info.st_mode)) {
      wrong = "\"" + escape_for_terminal(there) + "\" is no directory";
    } else if (missing > 2) {
      wrong = "cannot be made yet: in \"" + escape_for_terminal(there) +
              "\" the directories that lead to it are missing";
    } else if (::statvfs(there.c_str(), &system) == 0 && (system.f_flag & ST_RDONLY) != 0) {
      wrong = "\"" + escape_for_terminal(there) + "\" is on a file system that is read-only";
    }
    if (wrong.empty()) wrong = barrier_to(path);
    if (!wrong.empty()) problems_.warn(node.place, "tasks.directory: " + wrong);
  }

  // The directory above `path` through which the user who keeps the tasks may not pass, as a
  // complaint. Into the last one mtd lets him itself.
  std::string barrier_to(const std::string& path) {
    const DaemonSpec& daemon = result_.configuration.daemon;
    if (!daemon.task_uid || *daemon.task_uid == 0) return {};
    const std::size_t last = path.rfind('/');
    for (std::size_t slash = path.find('/', 1); slash < last; slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      struct stat info {};
      if (::stat(above.c_str(), &info) != 0) return {};
      const mode_t pass = info.st_uid == *daemon.task_uid   ? S_IXUSR
                          : info.st_gid == *daemon.task_gid ? S_IXGRP
                                                            : S_IXOTH;
      if ((info.st_mode & pass) != 0) continue;
      return "uid " + std::to_string(*daemon.task_uid) + ", which keeps the tasks, may not pass " +
             "through \"" + escape_for_terminal(above) +
             "\"; let others pass there (chmod o+x), or name another place or \"tasks.user\"";
    }
    return {};
  }

  // Only root can become another.
  void task_user(const Node* given) {
    DaemonSpec& daemon = result_.configuration.daemon;
    if (own_identity().uid != 0) return;
    for (const std::string& name : given != nullptr
                                       ? std::vector<std::string>{*given->as<std::string>()}
                                       : std::vector<std::string>{"mtd-tasks", "nobody"}) {
      auto resolved = resolve_identity({name, std::nullopt, std::nullopt});
      if (const auto* found = std::get_if<Identity>(&resolved)) {
        daemon.task_uid = found->uid;
        daemon.task_gid = found->gid;
        return;
      }
      if (given != nullptr) {
        problems_.error(given->place, "tasks.user: " + std::get<IdentityError>(resolved).message);
      }
    }
  }

  std::string daemon_path(const Node& node, const char* key, std::size_t most) {
    Environment environment("");
    environment.start = options_.start;
    const auto path = environment.expand(*node.as<std::string>());
    std::string wrong;
    if (!path) {
      wrong = path.error().message;
    } else if (!path->text.starts_with("/") || has_markers(path->text)) {
      wrong = "must be an absolute path, not \"" + escape_for_terminal(readable(path->text)) + "\"";
    } else if (path->text.size() > most) {
      wrong = "has " + std::to_string(path->text.size()) + " bytes; " +
              (most == kMaxSocketPath ? "the path of a socket has at most " : "at most ") +
              std::to_string(most);
    } else {
      return path->text;
    }
    problems_.error(node.place, std::string(key) + ": " + wrong);
    return {};
  }

  void check_total() {
    const std::uint32_t most = result_.configuration.daemon.max_processes;
    std::uint64_t total = 0;
    for (const PoolSpec& pool : result_.configuration.pools)
      total += pool.workers;
    if (most != 0 && total > most) {
      problems_.error(processes_, "limits.processes: is " + std::to_string(most) +
                                      ", but the pools ask for " + std::to_string(total) +
                                      " workers together");
    }
  }

  void check_task_workers() {
    const PoolSpec* largest = nullptr;
    std::uint64_t total = 0;
    for (const PoolSpec& pool : result_.configuration.pools) {
      if (!pool.tasks.has_queue()) continue;
      total += pool.most_workers();
      if (largest == nullptr || pool.most_workers() > largest->most_workers()) largest = &pool;
    }
    if (total <= kMaxTaskWorkers) return;
    const auto found = pools_.find(largest->name);
    problems_.error(found == pools_.end() ? Place() : found->second->name_place,
                    "pools." + largest->name + ".workers: the pools with tasks may have " +
                        std::to_string(total) + " workers together; at most " +
                        std::to_string(kMaxTaskWorkers) + " are possible");
  }

  // Two pools on one socket would take each other's connections.
  void check_addresses() {
    std::map<std::string, std::string> owners;
    for (const PoolSpec& pool : result_.configuration.pools) {
      for (const ListenSpec& socket : pool.listen) {
        const auto [owner, fresh] = owners.emplace(listen_address(socket), pool.name);
        if (fresh || owner->second == pool.name) continue;
        const Node* node = pools_.at(pool.name)->member("listen");
        problems_.error(node->place, "pools." + pool.name +
                                         ".listen: " + escape_for_terminal(owner->first) +
                                         " is pool " + owner->second + "'s already");
      }
    }
  }

  void check_dependencies() {
    for (const OrderProblem& problem : check_order(result_.configuration.pools)) {
      const Node* node = pools_.at(problem.pool)->member("depends_on");
      problems_.error(node->place, "pools." + problem.pool + ".depends_on: " + problem.message);
    }
  }

  template <class Spec>
  void note_origins(const Node& top, const std::vector<Key<Spec>>& keys,
                    const std::string& prefix) {
    for (const auto& key : keys) {
      const Node* node = find_path(top, key.info.path);
      if (node == nullptr) continue;
      const Place place = node->name_place;
      result_.origins.push_back({prefix + std::string(key.info.path), to_json_text(*node),
                                 problems_.files().at(place.file), place.line, place.column});
    }
  }

  Source source_;
  ResolveOptions options_;
  Problems problems_;
  LoadResult result_;
  std::map<std::string, const Node*> pools_;
  Place processes_;
};

}  // namespace

LoadResult load(const Source& source) {
  return Loader(source).run();
}

}  // namespace mtd::config
