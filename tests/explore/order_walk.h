// Every state that a few pools which depend on each other can reach: people start and stop them,
// the world lets them come up, fail and end, in any order.
#pragma once

#include "tests/explore/explorer.h"

namespace mtd::test {

// All graphs; the first finding.
[[nodiscard]] Finding explore_order();

}  // namespace mtd::test
