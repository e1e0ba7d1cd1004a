// Size: a number of bytes, never negative.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd {

struct Size {
  std::uint64_t bytes = 0;
  constexpr auto operator<=>(const Size&) const = default;
};

// "512M", "1.5G", "64K", "2T" (1024-based), bare = bytes. Refuses signs, unknown units, overflow.
[[nodiscard]] Result<Size> parse_size(std::string_view text);
// For people: "512M", "1.5G", "340K", "12B".
[[nodiscard]] std::string format_size(Size size);

}  // namespace mtd
