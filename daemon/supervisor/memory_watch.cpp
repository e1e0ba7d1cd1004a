#include "daemon/supervisor/memory_watch.h"

#include <sstream>
#include <utility>

#include "daemon/supervisor/pool_runner.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memory_use.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kWorkersATurn = 16;  // some 0.2 ms
constexpr std::size_t kMaxSuspects = 256;  // a look
constexpr Duration kHelperPatience = Duration::seconds(10);

bool is_watched(const PoolRunner& pool) {
  return pool.model().spec().recycle.max_rss != 0;
}

}  // namespace

MemoryWatch::MemoryWatch(sys::EventLoop& loop, std::optional<sys::CgroupTree>& cgroups, Pools pools,
                         Find find)
    : loop_(loop), cgroups_(cgroups), pools_(std::move(pools)), find_(std::move(find)) {
  auto timer = loop_.timer(sys::Priority::idle, [this] { begin(); });
  if (timer) timer_ = std::move(*timer);
}

void MemoryWatch::look_again() {
  if (measuring_ || asking_ || !timer_.deadline().is_never()) return;
  for (const PoolRunner* pool : pools_()) {
    if (!is_watched(*pool) || pool->workers().empty()) continue;
    timer_.arm(sys::now() + kMemoryPeriod);
    return;
  }
}

void MemoryWatch::begin() {
  for (const PoolRunner* pool : pools_()) {
    if (!is_watched(*pool)) continue;
    for (const auto& [key, record] : pool->workers()) {
      if (record.told_executed && !record.told_end) to_measure_.push_back({pool->id(), key});
    }
  }
  measuring_ = true;
  go_on();
}

void MemoryWatch::go_on() {
  for (std::size_t i = 0; i < kWorkersATurn && !to_measure_.empty(); ++i) {
    const Worker worker = to_measure_.back();
    to_measure_.pop_back();
    measure(worker);
  }
  if (!to_measure_.empty()) {
    loop_.post(sys::Priority::idle, [this] { go_on(); });
    return;
  }
  measuring_ = false;
  if (!suspects_.empty()) return ask_helper();
  look_again();
}

void MemoryWatch::measure(const Worker& worker) {
  const PoolRunner* pool = find_(worker.pool);
  if (pool == nullptr) return;
  const auto record = pool->workers().find(worker.key);
  if (record == pool->workers().end() || record->second.told_end) return;
  const std::uint64_t least = model::least_rss_limit(pool->model().spec().recycle);
  if (record->second.in_cgroup && cgroups_) {
    if (const auto used = cgroups_->memory_used(pool->cgroup_name(worker.key), least))
      return tell(worker, *used);
  }
  Suspect suspect{worker, {}, 0};
  suspect.pids = record->second.in_cgroup && cgroups_ ? pool->pids_of(worker.key)
                                                      : sys::tree_of(record->second.pid);
  for (const pid_t pid : suspect.pids)
    suspect.resident += sys::resident_bytes(pid);
  if (suspect.resident >= least && suspects_.size() < kMaxSuspects) {
    suspects_.push_back(std::move(suspect));
  } else {
    tell(worker, suspect.resident);
  }
}

// A number a line, in the order of the suspects.
void MemoryWatch::ask_helper() {
  auto suspects = std::exchange(suspects_, {});
  const auto work = [suspects] {
    std::string text;
    for (const Suspect& suspect : suspects)
      text += std::to_string(sys::proportional_bytes(suspect.pids)) + "\n";
    return text;
  };
  const auto done = [this, suspects](const Result<std::string>& answer) {
    asking_ = false;
    std::istringstream lines(answer ? *answer : std::string());
    for (const Suspect& suspect : suspects) {
      std::uint64_t bytes = 0;
      if (lines >> bytes) tell(suspect.worker, bytes);
    }
    look_again();
  };
  asking_ = true;
  auto helper = sys::HelperProcess::start(loop_, kHelperPatience, work, done);
  if (helper) {
    helper_ = std::move(*helper);
  } else {
    asking_ = false;
    look_again();
  }
}

void MemoryWatch::tell(const Worker& worker, std::uint64_t bytes) {
  if (PoolRunner* pool = find_(worker.pool)) pool->on_memory(worker.key, bytes);
}

}  // namespace mtd::supervisor
