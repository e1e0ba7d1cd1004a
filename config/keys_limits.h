// The rows of the key table about what a worker may use and do: processors, cgroup limits, sandbox.
#pragma once

#include <vector>

#include "config/keys.h"

namespace mtd::config {

[[nodiscard]] std::vector<PoolKey> limit_keys();

}  // namespace mtd::config
