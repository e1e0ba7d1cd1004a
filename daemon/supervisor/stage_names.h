// The words for what a child was doing when its set-up failed, and what a person can do about it.
#pragma once

#include <string>
#include <string_view>

namespace mtd::supervisor {

[[nodiscard]] std::string_view stage_name(int stage);  // of keeper::Stage; "unknown" for others
[[nodiscard]] std::string errno_name(int error);       // "ENOENT"; the number for unknown ones
[[nodiscard]] std::string errno_text(int error);       // "No such file or directory"
// "" when there is nothing useful to say.
[[nodiscard]] std::string advice(int stage, int error);

}  // namespace mtd::supervisor
