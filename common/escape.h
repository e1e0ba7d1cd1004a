// What a worker, a client or a file wrote is shown to people only through these: control
// characters, ESC sequences, bidi overrides and invalid UTF-8 come out as \xNN or \u{NNNN}; the
// rest unchanged.
#pragma once

#include <string>
#include <string_view>

namespace mtd {

[[nodiscard]] std::string escape_for_terminal(std::string_view text);
[[nodiscard]] bool is_valid_utf8(std::string_view text);

}  // namespace mtd
