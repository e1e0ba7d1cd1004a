// Names of capabilities, as in capabilities(7), small letters, without CAP_. A set of them is a
// number: bit n is capability n.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::config {

// With or without CAP_, in any case.
[[nodiscard]] Result<int> parse_capability(std::string_view name);
[[nodiscard]] std::vector<std::string> capability_names(std::uint64_t set);

}  // namespace mtd::config
