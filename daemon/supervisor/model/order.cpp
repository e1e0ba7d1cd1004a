#include "daemon/supervisor/model/order.h"

#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"

namespace mtd::model {
namespace {

const PoolFacts* find(const std::vector<PoolFacts>& pools, const std::string& name) {
  const auto at = std::lower_bound(
      pools.begin(), pools.end(), name,
      [](const PoolFacts& pool, const std::string& wanted) { return pool.name < wanted; });
  return at != pools.end() && at->name == name ? &*at : nullptr;
}

bool is_met(const config::Dependency& dependency, const std::vector<PoolFacts>& pools) {
  const PoolFacts* pool = find(pools, dependency.pool);
  if (pool == nullptr || pool->held_back) return false;
  switch (dependency.until) {
    case config::DependencyState::started:
      return pool->started || pool->completed;
    case config::DependencyState::ready:
      return pool->ready || pool->completed;
    case config::DependencyState::completed:
      return pool->completed;
  }
  return false;
}

// What has completed cannot be lost.
bool is_lost(const config::Dependency& dependency, const std::vector<PoolFacts>& pools) {
  if (dependency.until == config::DependencyState::completed) return false;
  const PoolFacts* pool = find(pools, dependency.pool);
  return pool == nullptr || pool->down || pool->held_back;
}

bool must_end(const PoolFacts& pool, const std::vector<PoolFacts>& pools) {
  return std::any_of(pool.depends_on.begin(), pool.depends_on.end(), [&](const auto& dependency) {
    if (dependency.if_lost != config::LossPolicy::stop) return false;
    const PoolFacts* other = find(pools, dependency.pool);
    return is_lost(dependency, pools) || (other != nullptr && other->stop_due);
  });
}

bool is_needed(const PoolFacts& pool, const std::vector<PoolFacts>& pools) {
  return std::any_of(pools.begin(), pools.end(), [&](const PoolFacts& other) {
    if (other.gone) return false;
    const bool ends = !other.wanted || other.stop_due || other.held_back || must_end(other, pools);
    return ends && std::any_of(other.depends_on.begin(), other.depends_on.end(),
                               [&](const auto& each) { return each.pool == pool.name; });
  });
}

}  // namespace

std::vector<config::Dependency> unmet(const PoolFacts& pool, const std::vector<PoolFacts>& pools) {
  std::vector<config::Dependency> left;
  for (const auto& dependency : pool.depends_on) {
    if (!is_met(dependency, pools)) left.push_back(dependency);
  }
  return left;
}

std::vector<config::Dependency> lost(const PoolFacts& pool, const std::vector<PoolFacts>& pools) {
  std::vector<config::Dependency> left;
  for (const auto& dependency : pool.depends_on) {
    if (is_lost(dependency, pools)) left.push_back(dependency);
  }
  return left;
}

std::vector<OrderStep> order_steps(const std::vector<PoolFacts>& pools) {
  using What = OrderStep::What;
  std::vector<OrderStep> steps;
  for (const PoolFacts& pool : pools) {
    const bool waits_again = !pool.wanted && pool.gone && !pool.depends_on.empty();
    if (pool.held_back) {
      const bool met = unmet(pool, pools).empty() && !must_end(pool, pools);
      const bool late = kSeededFault == SeededFault::admitted_unmet;
      if (pool.wanted && !pool.stop_due && (met || late)) steps.push_back({pool.name, What::admit});
    } else if (waits_again || (pool.wanted && must_end(pool, pools))) {
      steps.push_back({pool.name, What::hold_back});
    }
    const bool is_free =
        !is_needed(pool, pools) || kSeededFault == SeededFault::stopped_while_needed;
    if (pool.stop_due && is_free) steps.push_back({pool.name, What::stop});
  }
  return steps;
}

}  // namespace mtd::model
