// One value of the file against one row of the key table: type and bounds.
#pragma once

#include "common/result.h"
#include "config/keys.h"
#include "config/node.h"

namespace mtd::config {

// The error reads on from the key: "must be true or false, not 3".
[[nodiscard]] Result<Scalar> check_value(const KeyInfo& key, const Node& node);

// A text, a whole number as text, or a list of texts; for keys whose type was checked.
[[nodiscard]] std::vector<std::string> texts_of(const Node& node);

// CPUs this process may use, at least 1.
[[nodiscard]] std::int64_t cpu_count();

}  // namespace mtd::config
