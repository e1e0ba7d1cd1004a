// SleepLog: when the machine slept (suspend), as far as this supervisor has seen it. Deadlines
// stand still meanwhile, as the monotonic clock does; how old something is, and when it began, does
// not. Pure.
#pragma once

#include <vector>

#include "common/time.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxSleeps = 64;  // beyond, the oldest two count as one

class SleepLog {
 public:
  // asleep: the machine since it was booted. A growth is a sleep that has just ended.
  void look(Instant now, Duration asleep);
  // How long it slept after this moment.
  [[nodiscard]] Duration since(Instant at) const;

 private:
  struct Sleep {
    Instant seen;
    Duration length;
  };
  std::vector<Sleep> sleeps_;
  Duration asleep_;
  bool looked_ = false;
};

}  // namespace mtd::supervisor
