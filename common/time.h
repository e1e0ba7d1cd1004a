// Duration and Instant: the only ways to say "how long" and "when" inside mtd.
// A Duration is whole nanoseconds, never negative, or infinite; arithmetic saturates.
// An Instant is a reading of CLOCK_MONOTONIC in nanoseconds; it is handed in, never read here.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd {

class Duration {
 public:
  constexpr Duration() = default;
  [[nodiscard]] static constexpr Duration nanoseconds(std::int64_t n) {
    return Duration(n < 0 ? 0 : n);
  }
  [[nodiscard]] static constexpr Duration milliseconds(std::int64_t n) {
    return scaled(n, 1'000'000);
  }
  [[nodiscard]] static constexpr Duration seconds(std::int64_t n) {
    return scaled(n, 1'000'000'000);
  }
  [[nodiscard]] static constexpr Duration infinite() { return Duration(kInfinite); }

  [[nodiscard]] constexpr bool is_infinite() const { return ns_ == kInfinite; }
  [[nodiscard]] constexpr bool is_zero() const { return ns_ == 0; }
  [[nodiscard]] constexpr std::int64_t count_ns() const { return ns_; }
  [[nodiscard]] constexpr std::int64_t count_ms() const { return ns_ / 1'000'000; }

  constexpr auto operator<=>(const Duration&) const = default;
  // Saturates at infinite.
  friend constexpr Duration operator+(Duration a, Duration b) {
    return a.ns_ > kInfinite - b.ns_ ? infinite() : Duration(a.ns_ + b.ns_);
  }
  // A factor ≥ 0; saturates at infinite; infinite × anything is infinite.
  [[nodiscard]] Duration scaled_by(double factor) const;

 private:
  static constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max();
  static constexpr Duration scaled(std::int64_t n, std::int64_t unit) {
    return n <= 0 ? Duration(0) : (n > kInfinite / unit ? infinite() : Duration(n * unit));
  }
  explicit constexpr Duration(std::int64_t ns) : ns_(ns) {}
  std::int64_t ns_ = 0;
};

class Instant {
 public:
  constexpr Instant() = default;
  [[nodiscard]] static constexpr Instant at_ns(std::int64_t ns) { return Instant(ns); }
  [[nodiscard]] static constexpr Instant never() {
    return Instant(std::numeric_limits<std::int64_t>::max());
  }
  [[nodiscard]] constexpr bool is_never() const { return *this == never(); }
  [[nodiscard]] constexpr std::int64_t count_ns() const { return ns_; }
  constexpr auto operator<=>(const Instant&) const = default;
  // Saturates at never().
  friend constexpr Instant operator+(Instant at, Duration d) {
    return d.is_infinite() || at.ns_ > never().ns_ - d.count_ns() ? never()
                                                                  : Instant(at.ns_ + d.count_ns());
  }
  // 0 when `earlier` is in fact later.
  [[nodiscard]] constexpr Duration since(Instant earlier) const {
    return Duration::nanoseconds(ns_ - earlier.ns_);
  }

 private:
  explicit constexpr Instant(std::int64_t ns) : ns_(ns) {}
  std::int64_t ns_ = 0;
};

// "500ms", "10s", "1m30s", "2h", "1d", "infinity"; a bare number is seconds ("1.5" is allowed).
// Refuses signs, unknown units, overflow and trailing text; the error says what would be right.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);
// The shortest exact spelling that parse_duration reads back: "1m30s", "500ms", "infinity".
[[nodiscard]] std::string format_duration(Duration duration);
// At most two units, for people: "3d4h", "12s", "1.3s" below ten seconds, "450ms" below one.
[[nodiscard]] std::string format_duration_brief(Duration duration);

}  // namespace mtd
