// The rows of the key table about how a worker is stopped step by step, and about order between
// pools.
#pragma once

#include <vector>

#include "common/result.h"
#include "config/keys.h"
#include "config/node.h"

namespace mtd::config {

[[nodiscard]] std::vector<PoolKey> order_keys();

inline constexpr std::size_t kMaxStopSteps = 8;

// Values of Type::stop_steps and Type::dependencies; the scalar is a text that only the rows of
// these keys understand.
[[nodiscard]] Result<Scalar> check_stop_steps(const KeyInfo& key, const Node& node);
[[nodiscard]] Result<Scalar> check_dependencies(const KeyInfo& key, const Node& node);

}  // namespace mtd::config
