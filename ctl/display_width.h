// How many columns text takes on a terminal, and cutting it there. Text is UTF-8 and has been
// through escape_for_terminal; a byte that is not part of a character counts as one column.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mtd::ctl {

[[nodiscard]] std::size_t display_width(std::string_view text);
// At most `width` columns; what was cut off is shown as `mark`. Width 0: nothing.
[[nodiscard]] std::string cut_to_width(std::string_view text, std::size_t width,
                                       std::string_view mark = "…");
// Words in lines of `width` columns, each after `indent` blanks and ended by a newline; a longer
// word has a line of its own. Width 0: one line.
[[nodiscard]] std::string wrap_to_width(std::string_view text, std::size_t indent,
                                        std::size_t width);
enum class Align { left, right };
// Filled with blanks to `width` columns; longer text stays whole.
[[nodiscard]] std::string pad(std::string_view text, std::size_t width, Align align);

}  // namespace mtd::ctl
