// Budget: which dynamic pool gets how many of the workers that all pools together may have. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/supervisor/model/pool.h"

namespace mtd::model {

// How many workers each pool may have, in the order of `shares`. Nothing is taken from a pool that
// has it; what is left goes, one at a time, to the pool that needs more and has the fewest beyond
// its floor, so that none grows at the cost of a smaller one (max-min fairness). Ties go to the
// first. The sum is at most `capacity`, unless the pools have more already.
[[nodiscard]] std::vector<std::uint32_t> divide(std::uint64_t capacity,
                                                const std::vector<Pool::Share>& shares);

}  // namespace mtd::model
