// The supervisor dies and another one takes over: a pool made of the memory of the one before and
// of what the keeper has.
#pragma once

#include <string>
#include <vector>

#include "daemon/supervisor/model/memory.h"
#include "daemon/supervisor/model/pool.h"
#include "tests/explore/world.h"

namespace mtd::test {

struct Restarted {
  model::Pool pool;
  std::vector<model::Action> actions;  // of the adoption and of the first look, in order
};

// Adopts every body that the keeper has; those that were only asked for are in its table, too.
[[nodiscard]] Restarted restart(const model::Pool& before, const model::PoolMemory& memory,
                                const World& world, Instant now, std::uint64_t entropy);

}  // namespace mtd::test
