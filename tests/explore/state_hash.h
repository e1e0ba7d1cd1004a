// StateHash: a state's canonical form as a number, by which an explorer knows where it has been.
// Times count from now, in milliseconds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/time.h"

namespace mtd::test {

class StateHash {
 public:
  void add(std::uint64_t value) {
    a_ = (a_ ^ value) * 0x100000001b3ULL;
    b_ = (b_ + value) * 0x9e3779b97f4a7c15ULL;
    b_ ^= b_ >> 29;
  }
  void add(Instant at, Instant now) {
    if (at.is_never()) return add(~std::uint64_t{0});
    add(at > now ? static_cast<std::uint64_t>(at.since(now).count_ms()) + 1 : 0);
  }
  // How long ago, as far as it matters.
  void add_age(Instant at, Instant now, Duration most) {
    add(static_cast<std::uint64_t>(std::min(now.since(at), most).count_ms()));
  }
  [[nodiscard]] std::uint64_t value() const { return a_ ^ (b_ << 1); }

 private:
  std::uint64_t a_ = 0xcbf29ce484222325ULL, b_ = 1;
};

}  // namespace mtd::test
