// Whether the pools' depends_on make sense together: every name is a pool, and there is no cycle.
#pragma once

#include <string>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::config {

struct OrderProblem {
  std::string pool;  // whose depends_on is wrong
  std::string message;
};
// One for each unknown name and each cycle.
[[nodiscard]] std::vector<OrderProblem> check_order(const std::vector<PoolSpec>& pools);

}  // namespace mtd::config
