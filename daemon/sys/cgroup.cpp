#include "daemon/sys/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include "daemon/sys/cgroup_files.h"
#include "daemon/sys/cgroup_left_overs.h"
#include "daemon/sys/cgroup_paths.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr int kLockRoundMs = 100;
constexpr int kKillRounds = 64;  // without cgroup.kill: how often a fork bomb is swept at once

std::string leaf_name(const CgroupName& name) {
  return std::to_string(name.slot) + "." + std::to_string(name.incarnation);
}

// The file system has files beside the directories of pools ("cgroup.procs", "memory.max"): a pool
// of such a name gets a directory that begins with '_', as no name of a pool does.
std::string pool_directory_name(const std::string& pool) {
  for (const char* prefix : {"cgroup.", "cpu.", "cpuset.", "io.", "memory.", "pids.", "rdma.",
                             "misc.", "hugetlb.", "perf_event.", "dmem.", "irq."}) {
    if (pool.rfind(prefix, 0) == 0) return "_" + pool;
  }
  return pool;
}

// While one mtd makes its tree, no other takes it for a left-over. Never waited for long: whoever
// may read the directory can hold the lock.
bool lock_for_change(int directory) {
  for (int round = 0; round < kEndRounds; ++round) {
    if (::flock(directory, LOCK_EX | LOCK_NB) == 0) return true;
    ::poll(nullptr, 0, kLockRoundMs);
  }
  return false;
}

}  // namespace

Result<CgroupTree> CgroupTree::open(std::uint64_t instance, pid_t keeper) {
  const auto place = find_cgroup_place();
  if (!place) return place.error();
  const UniqueFd start = open_cgroup(AT_FDCWD, place->directory.c_str());
  if (!start) return Error::from_errno("open " + place->directory, errno);

  CgroupTree tree;
  if (lock_for_change(start.get())) tree.left_overs_ = end_left_overs(start.get(), *place, keeper);
  tree.own_ = place->directory;
  tree.hierarchy_ = place->hierarchy;
  UniqueFd own = open_cgroup(start.get(), ".");
  // The root of the hierarchy has no cgroup.type; others' processes live in it anyway.
  const bool is_root = ::faccessat(start.get(), "cgroup.type", F_OK, 0) != 0;
  // Another mtd's, or left-overs that even SIGKILL did not end: not to be mixed with ours.
  const bool taken = ::faccessat(start.get(), "pools", F_OK, 0) == 0;
  if (is_root || taken || !is_alone(start.get(), keeper)) {
    const std::string name = own_cgroup_name(instance);
    if (::mkdirat(start.get(), name.c_str(), 0755) != 0) {
      return Error::from_errno("make a cgroup in " + place->directory, errno);
    }
    tree.made_own_ = true;
    tree.own_ += "/" + name;
    tree.hierarchy_ += "/" + name;
    own = open_cgroup(start.get(), name.c_str());
  }
  const auto give_up = [&](std::string_view what, int error) {
    if (own) {
      ::unlinkat(own.get(), "pools", AT_REMOVEDIR);
      ::unlinkat(own.get(), "mtd", AT_REMOVEDIR);
    }
    if (tree.made_own_) ::rmdir(tree.own_.c_str());
    return Error::from_errno(std::string(what) + " " + tree.own_, error);
  };
  if (!own) return give_up("open cgroup", errno);
  for (const char* name : {"mtd", "pools"}) {
    if (::mkdirat(own.get(), name, 0755) != 0 && errno != EEXIST) {
      return give_up("make a cgroup in", errno);
    }
  }
  const UniqueFd roles = open_cgroup(own.get(), "mtd");
  tree.pools_ = open_cgroup(own.get(), "pools");
  if (!roles || !tree.pools_) return give_up("open a cgroup in", errno);
  for (const pid_t pid : {::getpid(), keeper}) {
    const auto moved = move_into_cgroup(roles.get(), pid);
    if (moved) continue;
    (void)move_into_cgroup(start.get(), ::getpid()).has_value();
    return give_up("move mtd into cgroup", moved.error().errno_value);
  }
  tree.has_kill_ = ::faccessat(tree.pools_.get(), "cgroup.kill", F_OK, 0) == 0;
  return tree;
}

Result<CgroupTree> CgroupTree::reopen(UniqueFd pools, std::uint64_t instance) {
  const auto place = find_cgroup_place();
  if (!place) return place.error();
  CgroupTree tree;
  tree.pools_ = std::move(pools);
  // The caller was born in <own>/mtd.
  const auto parent = [](const std::string& path) { return path.substr(0, path.rfind('/')); };
  tree.own_ = parent(place->directory);
  tree.hierarchy_ = parent(place->hierarchy);
  const std::string name = "/" + own_cgroup_name(instance);
  tree.made_own_ = tree.own_.size() >= name.size() &&
                   tree.own_.compare(tree.own_.size() - name.size(), name.size(), name) == 0;
  tree.has_kill_ = ::faccessat(tree.pools_.get(), "cgroup.kill", F_OK, 0) == 0;
  return tree;
}

Result<int> CgroupTree::pool_directory(const std::string& pool, bool create) {
  const auto known = pool_directories_.find(pool);
  if (known != pool_directories_.end()) return known->second.fd.get();
  const std::string name = pool_directory_name(pool);
  if (create && ::mkdirat(pools_.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
    return Error::from_errno("make cgroup " + own_ + "/pools/" + name, errno);
  }
  UniqueFd directory = open_cgroup(pools_.get(), name.c_str());
  if (!directory) return Error::from_errno("open cgroup " + own_ + "/pools/" + name, errno);
  const int opened =
      pool_directories_.emplace(pool, PoolDirectory{std::move(directory)}).first->second.fd.get();
  if (create) (void)enable(pool, "memory").has_value();
  return opened;
}

Result<void> CgroupTree::enable(const std::string& pool, std::string_view controller) {
  const auto directory = pool_directory(pool, true);
  if (!directory) return directory.error();
  const UniqueFd own = open_cgroup(AT_FDCWD, own_.c_str());
  if (!own) return Error::from_errno("open cgroup " + own_, errno);
  if (made_own_) {
    // Of the root only: a cgroup that has processes cannot give controllers to those below it.
    const UniqueFd above = open_cgroup(own.get(), "..");
    if (above && ::faccessat(above.get(), "cgroup.type", F_OK, 0) != 0)
      (void)enable_controller(above.get(), controller).has_value();
  }
  for (const int each : {own.get(), pools_.get(), *directory}) {
    if (auto done = enable_controller(each, controller); !done) return done;
  }
  return {};
}

std::string CgroupTree::controllers() const {
  auto text = read_small_file_at(pools_.get(), "cgroup.subtree_control", 4096);
  if (!text) return {};
  while (!text->empty() && text->back() == '\n')
    text->pop_back();
  return *text;
}

std::vector<CgroupRefusal> CgroupTree::limit(const CgroupName& name,
                                             const std::vector<CgroupSetting>& settings) {
  if (settings.empty()) return {};
  const UniqueFd directory = open_leaf(name, "", O_RDONLY | O_DIRECTORY);
  if (!directory) {
    return {{settings.front().key, Error::from_errno("open cgroup " + path(name), errno)}};
  }
  return write_limits(directory.get(), settings);
}

Result<UniqueFd> CgroupTree::make(const CgroupName& name) {
  const auto pool = pool_directory(name.pool, true);
  if (!pool) return pool.error();
  const std::string leaf = leaf_name(name);
  if (::mkdirat(*pool, leaf.c_str(), 0755) != 0 && errno != EEXIST) {
    return Error::from_errno("make cgroup " + path(name), errno);
  }
  UniqueFd directory(::openat(*pool, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return Error::from_errno("open cgroup " + path(name), errno);
  return directory;
}

UniqueFd CgroupTree::open_leaf(const CgroupName& name, const char* file, int flags) {
  const auto pool = pool_directory(name.pool, false);
  if (!pool) {
    errno = pool.error().errno_value;
    return {};
  }
  const std::string relative = leaf_name(name) + file;
  return UniqueFd(::openat(*pool, relative.c_str(), flags | O_CLOEXEC));
}

Result<void> CgroupTree::write_leaf(const CgroupName& name, const char* file,
                                    std::string_view text) {
  const UniqueFd target = open_leaf(name, file, O_WRONLY);
  if (!target) return Error::from_errno("open " + path(name) + file, errno);
  if (::write(target.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return {};
  return Error::from_errno("write " + path(name) + file, errno);
}

std::optional<bool> CgroupTree::populated(const CgroupName& name) {
  const UniqueFd events = open_leaf(name, "/cgroup.events", O_RDONLY);
  if (events) return populated_fd(events.get());
  if (errno == ENOENT) return false;
  return std::nullopt;
}

UniqueFd CgroupTree::watch(const CgroupName& name) {
  return open_leaf(name, "/cgroup.events", O_RDONLY);
}

bool CgroupTree::populated_fd(int events_fd) {
  std::array<char, 256> text{};
  const ssize_t got = ::pread(events_fd, text.data(), text.size() - 1, 0);
  return got > 0 && std::strstr(text.data(), "populated 1") != nullptr;
}

Result<void> CgroupTree::kill(const CgroupName& name) {
  // SIGKILL also ends what is frozen (cgroup-v2.rst, cgroup.freeze).
  if (has_kill_) return write_leaf(name, "/cgroup.kill", "1");
  // A process forked between the reading and the killing is found by the next round.
  for (int round = 0; round < kKillRounds; ++round) {
    if (signal(name, {SIGKILL}) == 0) break;
    (void)freeze(name, false).has_value();
  }
  return {};
}

Result<void> CgroupTree::freeze(const CgroupName& name, bool frozen) {
  return write_leaf(name, "/cgroup.freeze", frozen ? "1" : "0");
}

std::size_t CgroupTree::signal(const CgroupName& name, std::initializer_list<int> signals,
                               pid_t except) {
  std::size_t sent = 0;
  const std::string group =
      hierarchy_ + "/pools/" + pool_directory_name(name.pool) + "/" + leaf_name(name);
  for (const pid_t pid : pids(name)) {
    if (pid == except) continue;
    const UniqueFd pidfd = open_pidfd(pid);
    // The pid may have been used again since it was listed.
    const std::string where = unified_cgroup_of(pid);
    if (!pidfd || where.compare(0, group.size(), group) != 0) continue;
    if (where.size() > group.size() && where[group.size()] != '/') continue;
    bool taken = false;
    for (const int signal : signals)
      taken = signal_pidfd(pidfd, signal).has_value() || taken;
    if (taken) ++sent;
  }
  return sent;
}

std::vector<pid_t> CgroupTree::pids(const CgroupName& name) {
  std::vector<pid_t> pids;
  const UniqueFd directory = open_leaf(name, "", O_RDONLY | O_DIRECTORY);
  if (directory) append_pids(directory.get(), pids);
  return pids;
}

Result<void> CgroupTree::remove(const CgroupName& name) {
  const auto pool = pool_directory(name.pool, false);
  if (!pool) return {};
  return remove_cgroup(*pool, leaf_name(name).c_str());
}

void CgroupTree::remove_pool(const std::string& pool) {
  pool_directories_.erase(pool);
  (void)remove_cgroup(pools_.get(), pool_directory_name(pool).c_str()).has_value();
}

std::optional<std::uint64_t> CgroupTree::oom_kills(const CgroupName& name) {
  const auto known = pool_directories_.find(name.pool);
  if (known != pool_directories_.end() && !known->second.counts_memory) return std::nullopt;
  const UniqueFd events = open_leaf(name, "/memory.events", O_RDONLY);
  if (!events) {
    // The controller is on for all directories of a pool or for none: asked once.
    if (errno == ENOENT && known != pool_directories_.end() &&
        ::faccessat(known->second.fd.get(), leaf_name(name).c_str(), F_OK, 0) == 0)
      known->second.counts_memory = false;
    return std::nullopt;
  }
  std::array<char, 512> text{};
  if (::pread(events.get(), text.data(), text.size() - 1, 0) <= 0) return std::nullopt;
  const char* at = std::strstr(text.data(), "oom_kill ");
  if (at == nullptr) return std::nullopt;
  std::uint64_t count = 0;
  std::from_chars(at + std::strlen("oom_kill "), text.data() + text.size(), count);
  return count;
}

std::optional<std::uint64_t> CgroupTree::memory_used(const CgroupName& name,
                                                     std::uint64_t interesting) {
  const UniqueFd current = open_leaf(name, "/memory.current", O_RDONLY);
  std::array<char, 32> number{};
  if (!current || ::pread(current.get(), number.data(), number.size() - 1, 0) <= 0)
    return std::nullopt;
  std::uint64_t used = 0;
  std::from_chars(number.data(), number.data() + number.size(), used);
  if (used < interesting) return used;
  const UniqueFd stat = open_leaf(name, "/memory.stat", O_RDONLY);
  std::array<char, 8192> text{};
  if (!stat || ::pread(stat.get(), text.data(), text.size() - 1, 0) <= 0) return used;
  const auto value = [&](const char* key) {
    std::uint64_t bytes = 0;
    if (const char* at = std::strstr(text.data(), key))
      std::from_chars(at + std::strlen(key), text.data() + text.size(), bytes);
    return bytes;
  };
  // "file" holds shared memory and what is mapped, which is in use.
  const std::uint64_t in_use = value("\nshmem ") + value("\nfile_mapped ");
  const std::uint64_t cached = value("\nfile ");
  return used - std::min(used, cached - std::min(cached, in_use));
}

std::string CgroupTree::path(const CgroupName& name) const {
  return own_ + "/pools/" + pool_directory_name(name.pool) + "/" + leaf_name(name);
}

std::optional<CgroupName> CgroupTree::owner_of(pid_t pid) const {
  return parse_worker_cgroup(hierarchy_, unified_cgroup_of(pid));
}

void CgroupTree::end_all() {
  int rounds = kEndRounds;
  end_below(pools_.get(), hierarchy_ + "/pools", rounds);
  dissolve(0);
}

void CgroupTree::dissolve(pid_t keeper) {
  // A cgroup whose children have controllers takes no processes, and mtd goes back into its own.
  each_subdirectory(pools_.get(), [this](const char* name) {
    const UniqueFd pool = open_cgroup(pools_.get(), name);
    if (pool) disable_controllers(pool.get());
  });
  disable_controllers(pools_.get());
  pool_directories_.clear();
  pools_.reset();
  const std::string home = made_own_ ? own_.substr(0, own_.rfind('/')) : own_;
  const UniqueFd target = open_cgroup(AT_FDCWD, home.c_str());
  const UniqueFd own = open_cgroup(AT_FDCWD, own_.c_str());
  if (!target || !own) return;
  disable_controllers(own.get());
  const bool keeper_left = keeper <= 0 || move_into_cgroup(target.get(), keeper).has_value();
  const bool left = move_into_cgroup(target.get(), ::getpid()).has_value() && keeper_left;
  (void)remove_cgroup(own.get(), "pools").has_value();
  // Who is still there is a helper, or a keeper that was killed and has not come to its end yet.
  const UniqueFd roles = open_cgroup(own.get(), "mtd");
  int rounds = kEndRounds;
  if (left && roles) end_below(roles.get(), hierarchy_ + "/mtd", rounds);
  ::unlinkat(own.get(), "mtd", AT_REMOVEDIR);
  if (made_own_) ::unlinkat(target.get(), own_.substr(home.size() + 1).c_str(), AT_REMOVEDIR);
}

}  // namespace mtd::sys
