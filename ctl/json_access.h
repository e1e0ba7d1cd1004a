// Reading members of a reply without ever failing on one that is absent, null or of another type:
// what is not known is shown as not known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/json.h"

namespace mtd::ctl {

// The member, or a null value.
[[nodiscard]] const Json& member(const Json& object, std::string_view name);
// The member if it is an array, else an empty array.
[[nodiscard]] const Json& array(const Json& object, std::string_view name);
[[nodiscard]] std::optional<std::int64_t> integer(const Json& object, std::string_view name);
// Empty when absent or not a string.
[[nodiscard]] std::string text(const Json& object, std::string_view name);
// The same, made harmless for a terminal.
[[nodiscard]] std::string safe_text(const Json& object, std::string_view name);
[[nodiscard]] bool is_true(const Json& object, std::string_view name);
[[nodiscard]] std::vector<std::string> strings(const Json& object, std::string_view name);

}  // namespace mtd::ctl
