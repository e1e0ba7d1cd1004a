// The rows of the key table about commands that mtd runs beside the workers: stop.command and
// hooks.
#pragma once

#include <vector>

#include "config/keys.h"

namespace mtd::config {

[[nodiscard]] std::vector<PoolKey> hook_keys();

}  // namespace mtd::config
