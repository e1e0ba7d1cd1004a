// Breaker: stops a pool that crashes as a whole from being restarted for ever.
//
//   closed     crashes are counted in a sliding window; the count-th one inside it opens
//   open       no slot that crashed is restarted before retry_at
//   half_open  one of them is tried; stable for min_uptime: closed, crash: open again
//   tripped    action: fail; only a person closes it
//
// Only crashes of programs are counted: no planned exit, no manual restart, no refusal of the
// kernel. Memory is bounded: beyond 1 024 crashes to count, those of one 256th of the window are
// one entry.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

#include "config/pool_spec.h"

namespace mtd::model {

class CrashWindow {
 public:
  void add(Instant now, Duration window, std::uint32_t limit);
  void expire(Instant now, Duration window);
  void clear();
  [[nodiscard]] std::uint32_t count(Instant now, Duration window) const;

  struct Entry {
    Instant first;
    std::uint32_t crashes = 0;
  };
  [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }

 private:
  std::deque<Entry> entries_;
  std::uint32_t total_ = 0;
};

struct BreakerClosed {};
struct BreakerOpen {
  Instant retry_at;
};
struct BreakerHalfOpen {
  std::optional<std::uint32_t> probe;  // the slot that is tried
};
struct BreakerTripped {};
using Breaker = std::variant<BreakerClosed, BreakerOpen, BreakerHalfOpen, BreakerTripped>;

// How many crashes open it: what the configuration says, else 5 for each worker wanted.
[[nodiscard]] std::uint32_t crash_limit(const config::PoolSpec& spec, std::uint32_t want);

}  // namespace mtd::model
