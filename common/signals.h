// Signal names: "TERM", "SIGTERM" or a number on the way in, "TERM" or "RTMIN+3" on the way out.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd {

struct SignalNumber {
  int value = 0;  // 1..64
  constexpr bool operator==(const SignalNumber&) const = default;
};

// Accepts names with or without SIG, any case, RTMIN+n, RTMAX-n, and the numbers 1..64.
[[nodiscard]] Result<SignalNumber> parse_signal(std::string_view text);
// "TERM"; "RTMIN+2"; a number without a name is printed as the number.
[[nodiscard]] std::string signal_name(SignalNumber signal);

}  // namespace mtd
