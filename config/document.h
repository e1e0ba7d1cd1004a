// Strict JSON text to Nodes, with line and column of everything.
//
// On top of JSON (RFC 8259): // and /* */ comments, and one comma before a closing bracket.
// Refused: a byte order mark, invalid UTF-8, NUL in strings, duplicate keys, more than 32 levels,
// integers beyond 64 bits, numbers beyond a double. Never recurses on its input.
#pragma once

#include <optional>
#include <string_view>

#include "config/node.h"
#include "config/problems.h"

namespace mtd::config {

inline constexpr std::size_t kMaxDepth = 32;

// Empty after an error, which is then in `problems`.
[[nodiscard]] std::optional<Node> parse_document(std::string_view text, std::uint32_t file,
                                                 Problems& problems);

}  // namespace mtd::config
