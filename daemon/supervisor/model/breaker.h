// Breaker: stops a pool that crashes as a whole from being restarted for ever.
//
//   closed     crashes are counted in a sliding window; the count-th one inside it opens
//   open       no slot that crashed is restarted before retry_at
//   half_open  one of them is tried; stable for min_uptime: closed, crash: open again
//   tripped    action: fail; only a person closes it
//
// Only crashes of programs are counted: no planned exit, no manual restart, no refusal of the
// kernel. Memory is bounded: beyond 1 024 crashes, those of one 256th of the window are one entry.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

#include "config/pool_spec.h"

namespace mtd::model {

inline constexpr std::size_t kMaxCrashEntries = 1280;

class CrashWindow {
 public:
  void add(Instant now, Duration window, std::uint32_t limit);
  void expire(Instant now, Duration window);
  void clear();
  [[nodiscard]] std::uint32_t count(Instant now, Duration window) const;

  struct Entry {
    Instant first;
    std::uint32_t crashes = 0;
    bool operator==(const Entry&) const = default;
  };
  [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }
  // Entries are numbered from 0 over the window's whole life.
  [[nodiscard]] std::uint64_t first_number() const { return first_number_; }
  // As it was: entries in order of time; those beyond kMaxCrashEntries are left out.
  [[nodiscard]] static CrashWindow of(std::uint64_t first_number, const std::deque<Entry>& entries);
  bool operator==(const CrashWindow&) const = default;

 private:
  std::deque<Entry> entries_;
  std::uint64_t first_number_ = 0;
  std::uint32_t total_ = 0;
};

struct BreakerClosed {
  bool operator==(const BreakerClosed&) const = default;
};
struct BreakerOpen {
  Instant retry_at;
  bool operator==(const BreakerOpen&) const = default;
};
struct BreakerHalfOpen {
  std::optional<std::uint32_t> probe;  // the slot that is tried
  bool operator==(const BreakerHalfOpen&) const = default;
};
struct BreakerTripped {
  bool operator==(const BreakerTripped&) const = default;
};
using Breaker = std::variant<BreakerClosed, BreakerOpen, BreakerHalfOpen, BreakerTripped>;

// How many crashes open it: what the configuration says, else 5 for each worker wanted.
[[nodiscard]] std::uint32_t crash_limit(const config::PoolSpec& spec, std::uint32_t want);

}  // namespace mtd::model
