// Order between pools: which pool waits for which, and when one may start or has to end. Pure:
// facts of all pools in, steps out; whoever takes the steps asks again until there are none.
//
//   start   A pool that depends on others is held back until all of them are as far as it needs.
//   From
//           then on it runs, whatever becomes of them, but for a dependency with if_lost "stop":
//           when that is down the pool is ended and held back until it is there again.
//   stop    A pool that is asked to stop while others need it waits until those have ended that are
//           to end as well.
//
// "Down" is what does not come back by itself in a moment: stopped, failed, or with nothing ready
// and an open breaker. A crash, a restart or a roll-out of a dependency is none of this.
#pragma once

#include <string>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::model {

struct PoolFacts {
  std::string name;
  std::vector<config::Dependency> depends_on;
  bool wanted = false;     // nobody has stopped it
  bool held_back = false;  // it waits for what it depends on
  bool stop_due = false;   // it is to stop as soon as nothing needs it
  bool gone = false;       // nothing of it lives but what even SIGKILL does not end
  bool started = false, ready = false, completed = false;
  bool down = false;
};

struct OrderStep {
  enum class What { hold_back, admit, stop };
  std::string pool;
  What what{};
  bool operator==(const OrderStep&) const = default;
};

// `pools` sorted by name, without cycles (config/order.h). A pool that is not among them is down.
[[nodiscard]] std::vector<OrderStep> order_steps(const std::vector<PoolFacts>& pools);

// What a pool still waits for, of these.
[[nodiscard]] std::vector<config::Dependency> unmet(const PoolFacts& pool,
                                                    const std::vector<PoolFacts>& pools);
// What it depends on and is down, of these.
[[nodiscard]] std::vector<config::Dependency> lost(const PoolFacts& pool,
                                                   const std::vector<PoolFacts>& pools);

}  // namespace mtd::model
