// The only place where mtd reads a clock. Decisions use the monotonic one; the others are for
// people (real time) and for telling a sleep of the machine from a pause of mtd (boot time).
#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"

namespace mtd::sys {

[[nodiscard]] Instant now();               // CLOCK_MONOTONIC
[[nodiscard]] std::int64_t realtime_ns();  // CLOCK_REALTIME, since 1970
[[nodiscard]] std::int64_t boottime_ns();  // CLOCK_BOOTTIME
// How long the machine has been asleep since it was booted. Nothing where the clocks could not be
// read at one moment.
[[nodiscard]] std::optional<Duration> asleep();

}  // namespace mtd::sys
