// What a new configuration changes: per pool the strongest way a change has to be applied, and the
// keys that ask for it. Pure.
#pragma once

#include <string>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::config {

enum class Apply { unchanged, hot, rolling, restart, add, remove };

struct PoolChange {
  std::string pool;
  Apply apply = Apply::unchanged;
  std::vector<std::string> keys;  // that differ, strongest first: "command", "workers"
};

struct Plan {
  std::vector<PoolChange> pools;                 // every pool of either side, sorted by name
  std::vector<std::string> daemon_keys;          // that differ and apply in place
  std::vector<std::string> daemon_restart_keys;  // that need a restart of mtd
};

[[nodiscard]] Plan make_plan(const Configuration& current, const Configuration& wanted);

}  // namespace mtd::config
