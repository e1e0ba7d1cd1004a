// Names of resource limits: as in getrlimit(2), small letters, without RLIMIT_.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mtd::sys {

[[nodiscard]] std::optional<int> resource_number(std::string_view name);
// Soft limit of open descriptors of this process now.
[[nodiscard]] std::uint64_t descriptor_limit();

}  // namespace mtd::sys
