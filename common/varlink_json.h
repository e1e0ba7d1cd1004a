// Strict JSON for what a peer sends: one value, UTF-8 only, depth at most 32, no duplicate keys, no
// NUL inside strings, no byte order mark, integers exact (beyond 64 bits is an error, never a
// double). Printing never fails: bytes that are no UTF-8 come out as U+FFFD.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace mtd::varlink {

inline constexpr std::size_t kMaxDepth = 32;

// The error says what is wrong and at which byte (from 1).
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text);
[[nodiscard]] std::string to_text(const nlohmann::json& value);

}  // namespace mtd::varlink
