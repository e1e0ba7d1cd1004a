// How much mtd says about itself: the words of --log-level and of the key log.level, from all to
// little.
#pragma once

#include <array>
#include <string_view>

namespace mtd {

inline constexpr std::array<std::string_view, 4> kLogLevels{"debug", "info", "warning", "error"};

}  // namespace mtd
