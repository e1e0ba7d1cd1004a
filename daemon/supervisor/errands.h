// Errands: commands that mtd has run beside a pool's workers, in their surroundings (user, limits,
// sandbox, environment, directory), for a moment. Each is a child of the keeper in a cgroup of its
// own, has a deadline, and is killed with all that it started; nobody waits for it. It reads
// nothing and what it writes is thrown away.
//
// An errand does not outlive the supervisor that wanted it: its successor ends what it finds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/time.h"
#include "config/pool_spec.h"
#include "daemon/supervisor/tree_scanner.h"
#include "daemon/sys/cgroup.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/keeper_link.h"

namespace mtd::supervisor {

// The pool of an errand's key at the keeper; no pool has this id.
inline constexpr std::uint32_t kErrandPool = 0xffff'ffffU;

struct Errand {
  std::vector<std::string> command;  // with markers
  std::string executable;
  std::uint32_t slot = 0;  // of the worker it is about
  std::uint64_t incarnation = 0;
  std::vector<std::string> environment;  // NAME=VALUE, beside the pool's own
  Duration timeout;
};

struct ErrandEnd {
  enum class Kind {
    exited,       // wait_status is the program's own
    timed_out,    // and was killed
    not_started,  // the kernel refused something that may pass
    failed,       // its program cannot be run
  };
  Kind kind{};
  int wait_status = 0;
  std::string text;  // for people, where it did not exit
};

class Errands {
 public:
  using Done = std::function<void(const ErrandEnd&)>;

  Errands(sys::EventLoop& loop, sys::KeeperLink& keeper, std::optional<sys::CgroupTree>& cgroups,
          TreeScanner& scanner, std::unordered_map<int, keeper::Key>& pids,
          std::unordered_map<std::uint64_t, keeper::Key>& spawns, const keeper::Hello& hello);

  // Its number. `done` runs once, from the loop, at the latest at the deadline.
  std::uint64_t start(const config::PoolSpec& pool, const Errand& errand, Done done);
  // Kills it; `done` does not run.
  void cancel(std::uint64_t number);
  // False once nothing of it lives: after a deadline that may take a while.
  [[nodiscard]] bool is_living(std::uint64_t number) const { return running_.count(number) != 0; }

  void on_entry(const keeper::Entry& entry);
  void on_refused(const keeper::Key& key, int error);
  // One that an earlier life of the supervisor has left.
  void end_left(const keeper::Entry& entry);

 private:
  struct Running {
    sys::CgroupName cgroup;
    std::string tag;
    std::uint64_t revision = 0;
    bool in_cgroup = false;
    int pid = 0;
    std::unique_ptr<sys::EventLoop::Timer> timer;
    Done done;
  };
  [[nodiscard]] Result<void> send(const config::PoolSpec& pool, const Errand& errand,
                                  std::uint64_t number, Running& running);
  void finish_later(std::uint64_t number, ErrandEnd end);
  void tell(Running& running, const ErrandEnd& end);
  void end_tree(std::uint64_t number, const Running& running);
  void forget(std::uint64_t number);
  void remove(const sys::CgroupName& cgroup);

  sys::EventLoop& loop_;
  sys::KeeperLink& keeper_;
  std::optional<sys::CgroupTree>& cgroups_;
  TreeScanner& scanner_;
  std::unordered_map<int, keeper::Key>& pids_;
  std::unordered_map<std::uint64_t, keeper::Key>& spawns_;
  std::uint64_t instance_;
  std::uint64_t next_;
  std::map<std::uint64_t, Running> running_;
  std::vector<sys::CgroupName> unremoved_;                      // something was still ending there
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for handlers that come later
};

}  // namespace mtd::supervisor
