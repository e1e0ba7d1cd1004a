// Points of calendar time for people and for the API. A WallTime is a reading of CLOCK_REALTIME
// that is handed in; formatting is pure, in UTC, with 64-bit years, and knows no locale or time
// zone.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace mtd {

// Seconds and nanoseconds since 1970-01-01T00:00:00Z, as in timespec.
struct WallTime {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;  // 0..999 999 999
  auto operator<=>(const WallTime&) const = default;

  // Nanoseconds reach to the year 2262; beyond it the two-part form is the one to use.
  [[nodiscard]] static constexpr WallTime from_ns(std::int64_t ns) {
    const std::int64_t rest = ns % 1'000'000'000;
    return {ns / 1'000'000'000 - (rest < 0 ? 1 : 0),
            static_cast<std::uint32_t>(rest < 0 ? rest + 1'000'000'000 : rest)};
  }
};

// RFC 3339 with milliseconds, cut not rounded: "2026-11-21T18:04:06.250Z". Years beyond 9999 get a
// sign and as many digits as needed (ISO 8601): "+10000-01-01T00:00:00.000Z".
[[nodiscard]] std::string format_timestamp(WallTime time);
[[nodiscard]] inline std::string format_timestamp(std::int64_t realtime_ns) {
  return format_timestamp(WallTime::from_ns(realtime_ns));
}

}  // namespace mtd
