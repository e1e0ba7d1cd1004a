// The rows of the key table about what a worker has to do to count as well: watchdog, probes.
#pragma once

#include <vector>

#include "config/keys.h"

namespace mtd::config {

[[nodiscard]] std::vector<PoolKey> health_keys();

}  // namespace mtd::config
