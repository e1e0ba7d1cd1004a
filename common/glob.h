// Patterns of names, as selectors use them: '*' stands for any text, '?' for any one byte, all else
// for itself; there is no escape, and no name of a pool holds either. Never takes more steps than
// the lengths multiplied.
#pragma once

#include <string_view>

namespace mtd {

// Of the whole text.
[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace mtd
