// MemoryWatch: tells the pools that have recycle.max_rss how much memory their workers use, every
// few seconds, a few workers a turn of the loop. Memory is that of a worker and of all that it
// started: of its cgroup without files that are only cached, or, where cgroups do not count memory,
// what its processes have resident. Pages that they share would count several times there, so
// whoever seems to use too much is looked at once more by a helper process, which may wait for the
// kernel: each page then counts for its part.
//
// Where no pool asks, nothing runs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "daemon/supervisor/services.h"
#include "daemon/sys/helper_process.h"

namespace mtd::supervisor {

inline constexpr Duration kMemoryPeriod = Duration::seconds(5);

class MemoryWatch {
 public:
  using Pools = std::function<std::vector<PoolRunner*>()>;
  // Null: there is no such pool any more.
  using Find = std::function<PoolRunner*(std::uint32_t id)>;

  MemoryWatch(sys::EventLoop& loop, std::optional<sys::CgroupTree>& cgroups, Pools pools,
              Find find);
  // After anything that may have changed what is to be looked at.
  void look_again();

 private:
  struct Worker {
    std::uint32_t pool = 0;
    model::WorkerKey key;
  };
  void begin();
  void go_on();
  void measure(const Worker& worker);
  void ask_helper();
  void tell(const Worker& worker, std::uint64_t bytes);

  sys::EventLoop& loop_;
  std::optional<sys::CgroupTree>& cgroups_;
  Pools pools_;
  Find find_;
  sys::EventLoop::Timer timer_;
  std::vector<Worker> to_measure_;
  struct Suspect {
    Worker worker;
    std::vector<pid_t> pids;
    std::uint64_t resident = 0;
  };
  std::vector<Suspect> suspects_;
  sys::HelperProcess helper_;
  bool measuring_ = false, asking_ = false;
};

}  // namespace mtd::supervisor
