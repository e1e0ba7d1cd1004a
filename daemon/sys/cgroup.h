// CgroupTree: mtd's own part of the cgroup v2 hierarchy. One directory a process, so that all its
// descendants can be found, frozen and killed together, however they forked away.
//
//   <own>/mtd                              keeper and roles
//   <own>/pools/POOL/SLOT.INCARNATION      a worker and its descendants
//
// <own> is the cgroup mtd was started in when it is alone there and has room for `pools`, else a
// new `mtd.<instance>` below it. The v2 hierarchy is found by its mount and the `0::` line of
// /proc/self/cgroup; it may be the unified part of a hybrid system that holds no controllers.
// Without privileges it works inside a delegated subtree. Where it does not work, open() says why,
// and mtd goes on without.
//
// Nothing here blocks: cgroupfs is memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/cgroup_limits.h"

namespace mtd::sys {

struct CgroupName {
  std::string pool;
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
};

// Of an mtd that was killed together with its supervisor.
struct LeftOverTree {
  std::string path;
  std::size_t processes = 0;        // that were killed
  bool removed = false;             // false: some of them have not ended yet
  std::vector<std::string> living;  // those, "PID COMM", at most 16
};

class CgroupTree {
 public:
  // Makes the tree and moves `keeper` and the caller into <own>/mtd. An Error: not available, and
  // why; nothing is left behind then. Before that it ends what is left of an mtd that is gone.
  [[nodiscard]] static Result<CgroupTree> open(std::uint64_t instance, pid_t keeper);
  // The same tree again, from the descriptor of its `pools` that the keeper held.
  [[nodiscard]] static Result<CgroupTree> reopen(UniqueFd pools, std::uint64_t instance);

  [[nodiscard]] const std::vector<LeftOverTree>& left_overs() const { return left_overs_; }
  [[nodiscard]] int pools_fd() const { return pools_.get(); }
  [[nodiscard]] const std::string& own_path() const { return own_; }
  [[nodiscard]] bool has_kill() const { return has_kill_; }

  // Makes the directory of a process and opens it. An existing one is used again.
  [[nodiscard]] Result<UniqueFd> make(const CgroupName& name);
  // Lets the directories of the pool's processes have the controller. Its memory controller is
  // enabled without being asked for, so that kills for want of memory are seen.
  [[nodiscard]] Result<void> enable(const std::string& pool, std::string_view controller);
  // What a pool's directories have of the controllers.
  [[nodiscard]] std::string controllers() const;
  [[nodiscard]] std::vector<CgroupRefusal> limit(const CgroupName& name,
                                                 const std::vector<CgroupSetting>& settings);
  // False when it is gone, too; nothing when that cannot be said now (EMFILE, ENOMEM).
  [[nodiscard]] std::optional<bool> populated(const CgroupName& name);
  // A descriptor of cgroup.events: EPOLLPRI says that `populated` may have changed; the value has
  // to be read with populated_fd, which also arms the next report. Empty: the directory is gone, or
  // errno says what is short.
  [[nodiscard]] UniqueFd watch(const CgroupName& name);
  [[nodiscard]] static bool populated_fd(int events_fd);
  // SIGKILL to every process in it, also to ones that are forked meanwhile or are frozen.
  [[nodiscard]] Result<void> kill(const CgroupName& name);
  [[nodiscard]] Result<void> freeze(const CgroupName& name, bool frozen);
  // Signals, in this order, to every process but `except`, each checked by pidfd to be the one that
  // was listed. Number of processes that took one.
  std::size_t signal(const CgroupName& name, std::initializer_list<int> signals, pid_t except = 0);
  // At most 10 000, those of directories the worker made below included.
  [[nodiscard]] std::vector<pid_t> pids(const CgroupName& name);
  // Removes the directory and what the worker made below; not while populated (EBUSY).
  [[nodiscard]] Result<void> remove(const CgroupName& name);
  // Of a pool that has no processes any more.
  void remove_pool(const std::string& pool);
  // How often the kernel killed for want of memory in it; nothing without the memory controller.
  [[nodiscard]] std::optional<std::uint64_t> oom_kills(const CgroupName& name);
  // Bytes charged to it, without files that are only cached; those are left out only where that
  // makes a difference to `interesting`. Nothing without the memory controller.
  [[nodiscard]] std::optional<std::uint64_t> memory_used(const CgroupName& name,
                                                         std::uint64_t interesting);
  // For people: absolute path.
  [[nodiscard]] std::string path(const CgroupName& name) const;
  // The process's worker, by the path its /proc/PID/cgroup names; nothing when it is elsewhere or
  // gone.
  [[nodiscard]] std::optional<CgroupName> owner_of(pid_t pid) const;

  // The keeper is gone: SIGKILL to every worker, at most 2 s of waiting, then dissolve.
  void end_all();
  // Before mtd ends: moves keeper (0: it is gone) and caller back, ends helpers that still run, and
  // removes the tree as far as it is empty. Waits at most 2 s.
  void dissolve(pid_t keeper);

 private:
  CgroupTree() = default;
  [[nodiscard]] Result<int> pool_directory(const std::string& pool, bool create);
  [[nodiscard]] UniqueFd open_leaf(const CgroupName& name, const char* file, int flags);
  [[nodiscard]] Result<void> write_leaf(const CgroupName& name, const char* file,
                                        std::string_view text);

  std::string own_;        // absolute path of <own>
  std::string hierarchy_;  // its path as /proc/PID/cgroup writes it
  bool made_own_ = false;  // <own> is a directory of ours
  bool has_kill_ = false;
  std::vector<LeftOverTree> left_overs_;
  UniqueFd pools_;
  struct PoolDirectory {
    UniqueFd fd;
    bool counts_memory = true;  // false: its directories have no memory.events
  };
  std::map<std::string, PoolDirectory> pool_directories_;
};

}  // namespace mtd::sys
