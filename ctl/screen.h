// What mtctl knows about where its output goes: a terminal or not, how wide, in colour or not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mtd::ctl {

enum class Colour { plain, bold, dim, red, green, yellow, cyan };

struct Screen {
  bool terminal = false;
  bool cursor = false;  // a terminal on which the cursor can be moved
  bool colour = false;
  std::size_t width = 0;  // columns; 0: no limit, the output is piped
  bool utf8 = true;       // false: a terminal of a locale with another encoding

  // What stands for text that was left out.
  [[nodiscard]] std::string_view ellipsis() const { return utf8 ? "…" : "..."; }
  [[nodiscard]] std::string paint(std::string_view text, Colour colour) const;
};

// Colour only on a terminal, and not when `no_color`, NO_COLOR or TERM=dumb say otherwise.
[[nodiscard]] Screen detect_screen(int fd, bool no_color);
// Of a pool's or worker's state name.
[[nodiscard]] Colour colour_of_state(std::string_view state);

}  // namespace mtd::ctl
