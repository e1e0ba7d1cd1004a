// Supervisor: how many workers dynamic pools may have. Who gets what is the model's (budget.h);
// here are the facts: what all pools have, what they may have together, and whether memory is
// short.
#include <algorithm>
#include <vector>

#include "daemon/supervisor/model/budget.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memory_pressure.h"

namespace mtd::supervisor {
namespace {

constexpr Duration kLookAgain = Duration::seconds(2);  // only while growth is held back
constexpr Duration kSeenLately = Duration::seconds(1);

}  // namespace

Result<double> Supervisor::memory_pressure() const {
  return sys::memory_pressure(cgroups_ ? cgroups_->pools_fd() : -1);
}

// Where the kernel does not tell, memory is never short; `mtctl limits` says so.
bool Supervisor::is_memory_short() {
  const std::uint32_t most = configuration_.daemon.memory_pressure;
  if (most == 0) return false;
  const Instant now = sys::now();
  if (!pressure_ || pressure_seen_ + kSeenLately <= now) {
    const auto told = memory_pressure();
    pressure_ = told ? *told : 0;
    pressure_seen_ = now;
  }
  return *pressure_ >= most;
}

model::GrantCommand Supervisor::grant(const PoolRunner& asking) {
  const auto own = asking.model().share();
  if (is_memory_short() && own.has > 0) {
    growth_waits_ = true;
    growth_timer_.arm(sys::now() + kLookAgain);
    return {own.has, model::Restraint::memory};
  }
  std::vector<model::Pool::Share> shares;
  std::size_t place = 0;
  std::uint64_t wished = 0;
  for (const auto& entry : pools_) {
    if (entry.second.get() == &asking) place = shares.size();
    shares.push_back(entry.second->model().share());
    wished += shares.back().needs;
  }
  const std::uint64_t capacity = this->capacity();
  if (wished <= capacity) return {own.needs, model::Restraint::none};
  const std::uint32_t most = model::divide(capacity, shares)[place];
  if (most >= own.needs) return {most, model::Restraint::none};
  growth_waits_ = true;
  return {most, model::Restraint::processes};
}

// Something has changed, or some time has passed: who waits may get more now.
void Supervisor::grant_waiting() {
  growth_waits_ = false;
  for (const auto& entry : pools_) {
    PoolRunner& pool = *entry.second;
    const auto share = pool.model().share();
    if (!share.waits()) continue;
    const auto answer = grant(pool);
    const bool same =
        answer.most <= share.has && answer.restraint == pool.model().summary(sys::now()).restraint;
    if (!same) pool.apply(answer);
    if (pool.model().share().waits()) growth_waits_ = true;
  }
}

}  // namespace mtd::supervisor
