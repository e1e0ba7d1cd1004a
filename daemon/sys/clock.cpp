#include "daemon/sys/clock.h"

#include <time.h>

#include <algorithm>

namespace mtd::sys {
namespace {

std::int64_t read_clock(clockid_t clock) {
  timespec at{};
  ::clock_gettime(clock, &at);  // cannot fail for these clocks (clock_gettime(2))
  return static_cast<std::int64_t>(at.tv_sec) * 1'000'000'000 + at.tv_nsec;
}

}  // namespace

Instant now() {
  return Instant::at_ns(read_clock(CLOCK_MONOTONIC));
}

std::int64_t realtime_ns() {
  return read_clock(CLOCK_REALTIME);
}

std::int64_t boottime_ns() {
  return read_clock(CLOCK_BOOTTIME);
}

std::optional<Duration> asleep() {
  constexpr Duration kMoment = Duration::milliseconds(10);
  for (int i = 0; i < 3; ++i) {
    const Instant before = now();
    const std::int64_t boot = boottime_ns();
    const Instant after = now();
    if (after.since(before) <= kMoment)
      return Duration::nanoseconds(std::max<std::int64_t>(0, boot - after.count_ns()));
  }
  return std::nullopt;
}

}  // namespace mtd::sys
