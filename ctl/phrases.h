// Short phrases for people, from members of replies. All are safe for a terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/json.h"

namespace mtd::ctl {

// "exit 3", "signal 11 (SEGV), core dumped", "oom-killed", "stop: signal 15 (TERM)",
// "not started: exec: ENOENT".
[[nodiscard]] std::string exit_phrase(const Json& exit);
// "3d4h" of milliseconds; "-" when not known.
[[nodiscard]] std::string duration_phrase(std::optional<std::int64_t> milliseconds);
// "12" or "-".
[[nodiscard]] std::string number_phrase(std::optional<std::int64_t> number);
// "1.2G" or "-".
[[nodiscard]] std::string size_phrase(std::optional<std::int64_t> bytes);
// "3.4%" or "-".
[[nodiscard]] std::string percent_phrase(const Json& number);
// "1 pool", "2 pools".
[[nodiscard]] std::string counted(std::int64_t number, const std::string& noun);

}  // namespace mtd::ctl
