// Makes plain JSON of JSON with comments and trailing commas by overwriting them with spaces, so
// that every other byte stays where it was.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace mtd::config {

// The offset of a comment that never ends; else empty.
[[nodiscard]] std::optional<std::size_t> blank_extensions(std::string& text);

}  // namespace mtd::config
