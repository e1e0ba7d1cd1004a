// The rows of the key table about a pool's queue of tasks.
#pragma once

#include <vector>

#include "config/keys.h"

namespace mtd::config {

[[nodiscard]] std::vector<PoolKey> task_keys();

}  // namespace mtd::config
