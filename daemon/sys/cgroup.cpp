#include "daemon/sys/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>

#include "daemon/sys/cgroup_paths.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMaxPids = 10'000;
constexpr int kMaxDepth = 16;  // of directories a worker makes below its own
constexpr int kEndRounds = 20, kEndRoundMs = 100;
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

Result<void> write_at(int directory, const char* file, std::string_view text) {
  const UniqueFd target(::openat(directory, file, O_WRONLY | O_CLOEXEC));
  if (!target) return Error::from_errno(std::string("open ") + file, errno);
  if (::write(target.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return {};
  return Error::from_errno(std::string("write ") + file, errno);
}

UniqueFd open_directory(int at, const char* path) {
  return UniqueFd(::openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

template <class Visit>
void each_subdirectory(int directory, const Visit& visit) {
  UniqueFd copy = open_directory(directory, ".");
  if (!copy) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy.get()), ::closedir);
  if (!stream) return;
  (void)copy.release();
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    visit(entry->d_name);
  }
}

void append_pids(int directory, std::vector<pid_t>& pids, int depth) {
  const auto text = read_small_file_at(directory, "cgroup.procs", 1 << 20);
  if (text) {
    const char* at = text->data();
    const char* end = at + text->size();
    while (at < end && pids.size() < kMaxPids) {
      pid_t pid = 0;
      const auto parsed = std::from_chars(at, end, pid);
      if (parsed.ec != std::errc()) break;
      if (pid > 0) pids.push_back(pid);  // 0: a process outside our pid namespace
      at = parsed.ptr + 1;
    }
  }
  if (depth >= kMaxDepth) return;
  each_subdirectory(directory, [&](const char* name) {
    const UniqueFd child = open_directory(directory, name);
    if (child) append_pids(child.get(), pids, depth + 1);
  });
}

Result<void> remove_at(int parent, const char* name, int depth) {
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  const int error = errno;
  if (error == EBUSY && depth < kMaxDepth) {
    const UniqueFd directory = open_directory(parent, name);
    if (directory) {
      each_subdirectory(directory.get(), [&](const char* child) {
        (void)remove_at(directory.get(), child, depth + 1).has_value();
      });
    }
    if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  }
  return Error::from_errno(std::string("remove cgroup ") + name, errno);
}

Result<void> move_into(int directory, pid_t pid) {
  return write_at(directory, "cgroup.procs", std::to_string(pid));
}

// True when nobody but the two processes of ours lives directly in the cgroup.
bool is_alone(int directory, pid_t keeper) {
  const auto text = read_small_file_at(directory, "cgroup.procs", 1 << 20);
  if (!text) return false;
  const char* at = text->data();
  const char* end = at + text->size();
  while (at < end) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec != std::errc()) break;
    if (pid != keeper && pid != ::getpid()) return false;
    at = parsed.ptr + 1;
  }
  return true;
}

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

namespace {

// "mtd." and 16 hexadecimal digits: what open() makes.
bool is_own_name(std::string_view name) {
  return name.size() == 20 && name.substr(0, 4) == "mtd." &&
         name.find_first_not_of("0123456789abcdef", 4) == std::string_view::npos;
}

// While one mtd makes its tree, no other takes it for a left-over. Never waited for long: whoever
// may read the directory can hold the lock.
bool lock_for_change(int directory) {
  for (int round = 0; round < kEndRounds; ++round) {
    if (::flock(directory, LOCK_EX | LOCK_NB) == 0) return true;
    ::poll(nullptr, 0, kEndRoundMs);
  }
  return false;
}

bool is_populated(int directory, const char* name) {
  const std::string path = std::string(name) + "/cgroup.events";
  const UniqueFd events(::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC));
  return events && CgroupTree::populated_fd(events.get());
}

// SIGKILL to all below, until nobody is left or the rounds are over.
void end_below(int directory, const std::string& hierarchy) {
  const UniqueFd events(::openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC));
  for (int round = 0; round < kEndRounds && events && CgroupTree::populated_fd(events.get());
       ++round) {
    if (!write_at(directory, "cgroup.kill", "1")) {
      std::vector<pid_t> living;
      append_pids(directory, living, 0);
      for (const pid_t pid : living) {
        const UniqueFd pidfd = open_pidfd(pid);
        // The pid may have been used again since it was listed.
        if (pidfd && unified_cgroup_of(pid).compare(0, hierarchy.size() + 1, hierarchy + "/") == 0)
          (void)signal_pidfd(pidfd, SIGKILL).has_value();
      }
    }
    pollfd change{events.get(), POLLPRI, 0};
    ::poll(&change, 1, kEndRoundMs);
  }
}

// Trees whose keeper and roles are gone, as a SIGKILL to them leaves them: ended and removed. A
// living mtd populates its `mtd`, and is left alone, as are trees of other users.
std::vector<LeftOverTree> end_left_overs(int start, const CgroupPlace& place) {
  std::vector<std::string> names;
  each_subdirectory(start, [&](const char* name) {
    if (is_own_name(name)) names.emplace_back(name);
  });
  std::vector<LeftOverTree> ended;
  for (const auto& name : names) {
    const UniqueFd own = open_directory(start, name.c_str());
    struct stat info {};
    if (!own || ::fstat(own.get(), &info) != 0 || info.st_uid != ::geteuid()) continue;
    if (is_populated(own.get(), "mtd") || !is_alone(own.get(), 0)) continue;
    LeftOverTree tree{place.directory + "/" + name, 0, false};
    if (const UniqueFd pools = open_directory(own.get(), "pools")) {
      std::vector<pid_t> living;
      append_pids(pools.get(), living, 0);
      tree.processes = living.size();
      end_below(pools.get(), place.hierarchy + "/" + name + "/pools");
    }
    (void)remove_at(own.get(), "pools", 0).has_value();
    ::unlinkat(own.get(), "mtd", AT_REMOVEDIR);
    tree.removed = ::unlinkat(start, name.c_str(), AT_REMOVEDIR) == 0;
    ended.push_back(std::move(tree));
  }
  return ended;
}

}  // namespace

Result<CgroupTree> CgroupTree::open(std::uint64_t instance, pid_t keeper) {
  const auto place = find_cgroup_place();
  if (!place) return place.error();
  const UniqueFd start = open_directory(AT_FDCWD, place->directory.c_str());
  if (!start) return Error::from_errno("open " + place->directory, errno);

  CgroupTree tree;
  if (lock_for_change(start.get())) tree.left_overs_ = end_left_overs(start.get(), *place);
  tree.own_ = place->directory;
  tree.hierarchy_ = place->hierarchy;
  UniqueFd own = open_directory(start.get(), ".");
  // The root of the hierarchy has no cgroup.type; others' processes live in it anyway.
  const bool is_root = ::faccessat(start.get(), "cgroup.type", F_OK, 0) != 0;
  if (is_root || !is_alone(start.get(), keeper)) {
    const std::string name = "mtd." + hex(instance);
    if (::mkdirat(start.get(), name.c_str(), 0755) != 0) {
      return Error::from_errno("make a cgroup in " + place->directory, errno);
    }
    tree.made_own_ = true;
    tree.own_ += "/" + name;
    tree.hierarchy_ += "/" + name;
    own = open_directory(start.get(), name.c_str());
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
  const UniqueFd roles = open_directory(own.get(), "mtd");
  tree.pools_ = open_directory(own.get(), "pools");
  if (!roles || !tree.pools_) return give_up("open a cgroup in", errno);
  for (const pid_t pid : {::getpid(), keeper}) {
    const auto moved = move_into(roles.get(), pid);
    if (moved) continue;
    (void)move_into(start.get(), ::getpid()).has_value();
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
  const std::string name = "/mtd." + hex(instance);
  tree.made_own_ = tree.own_.size() >= name.size() &&
                   tree.own_.compare(tree.own_.size() - name.size(), name.size(), name) == 0;
  tree.has_kill_ = ::faccessat(tree.pools_.get(), "cgroup.kill", F_OK, 0) == 0;
  return tree;
}

Result<int> CgroupTree::pool_directory(const std::string& pool, bool create) {
  const auto known = pool_directories_.find(pool);
  if (known != pool_directories_.end()) return known->second.get();
  const std::string name = pool_directory_name(pool);
  if (create && ::mkdirat(pools_.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
    return Error::from_errno("make cgroup " + own_ + "/pools/" + name, errno);
  }
  UniqueFd directory = open_directory(pools_.get(), name.c_str());
  if (!directory) return Error::from_errno("open cgroup " + own_ + "/pools/" + name, errno);
  return pool_directories_.emplace(pool, std::move(directory)).first->second.get();
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
  if (!pool) return {};
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

bool CgroupTree::populated(const CgroupName& name) {
  const UniqueFd events = open_leaf(name, "/cgroup.events", O_RDONLY);
  return events && populated_fd(events.get());
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
  if (has_kill_) {
    (void)freeze(name, false).has_value();
    return write_leaf(name, "/cgroup.kill", "1");
  }
  // A process forked between the reading and the killing is found by the next round.
  for (int round = 0; round < kKillRounds; ++round) {
    if (signal(name, SIGKILL) == 0) break;
    (void)freeze(name, false).has_value();
  }
  return {};
}

Result<void> CgroupTree::freeze(const CgroupName& name, bool frozen) {
  return write_leaf(name, "/cgroup.freeze", frozen ? "1" : "0");
}

std::size_t CgroupTree::signal(const CgroupName& name, int signal, pid_t except) {
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
    if (signal_pidfd(pidfd, signal)) ++sent;
  }
  return sent;
}

std::vector<pid_t> CgroupTree::pids(const CgroupName& name) {
  std::vector<pid_t> pids;
  const UniqueFd directory = open_leaf(name, "", O_RDONLY | O_DIRECTORY);
  if (directory) append_pids(directory.get(), pids, 0);
  return pids;
}

Result<void> CgroupTree::remove(const CgroupName& name) {
  const auto pool = pool_directory(name.pool, false);
  if (!pool) return {};
  return remove_at(*pool, leaf_name(name).c_str(), 0);
}

void CgroupTree::remove_pool(const std::string& pool) {
  pool_directories_.erase(pool);
  (void)remove_at(pools_.get(), pool_directory_name(pool).c_str(), 0).has_value();
}

std::optional<std::uint64_t> CgroupTree::oom_kills(const CgroupName& name) {
  const UniqueFd events = open_leaf(name, "/memory.events", O_RDONLY);
  if (!events) return std::nullopt;
  std::array<char, 512> text{};
  if (::pread(events.get(), text.data(), text.size() - 1, 0) <= 0) return std::nullopt;
  const char* at = std::strstr(text.data(), "oom_kill ");
  if (at == nullptr) return std::nullopt;
  std::uint64_t count = 0;
  std::from_chars(at + std::strlen("oom_kill "), text.data() + text.size(), count);
  return count;
}

std::string CgroupTree::path(const CgroupName& name) const {
  return own_ + "/pools/" + pool_directory_name(name.pool) + "/" + leaf_name(name);
}

std::optional<CgroupName> CgroupTree::owner_of(pid_t pid) const {
  return parse_worker_cgroup(hierarchy_, unified_cgroup_of(pid));
}

void CgroupTree::end_all() {
  end_below(pools_.get(), hierarchy_ + "/pools");
  dissolve(0);
}

void CgroupTree::dissolve(pid_t keeper) {
  pool_directories_.clear();
  pools_.reset();
  const std::string home = made_own_ ? own_.substr(0, own_.rfind('/')) : own_;
  const UniqueFd target = open_directory(AT_FDCWD, home.c_str());
  const UniqueFd own = open_directory(AT_FDCWD, own_.c_str());
  if (!target || !own) return;
  if (keeper > 0) (void)move_into(target.get(), keeper).has_value();
  (void)move_into(target.get(), ::getpid()).has_value();
  (void)remove_at(own.get(), "pools", 0).has_value();
  ::unlinkat(own.get(), "mtd", AT_REMOVEDIR);
  if (made_own_) ::unlinkat(target.get(), own_.substr(home.size() + 1).c_str(), AT_REMOVEDIR);
}

}  // namespace mtd::sys
