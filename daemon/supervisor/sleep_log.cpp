#include "daemon/supervisor/sleep_log.h"

namespace mtd::supervisor {
namespace {

// Less is how far apart two clocks can be read.
constexpr Duration kShortestSleep = Duration::seconds(1);

}  // namespace

void SleepLog::look(Instant now, Duration asleep) {
  const Duration slept =
      asleep > asleep_ ? Duration::nanoseconds(asleep.count_ns() - asleep_.count_ns()) : Duration();
  if (looked_ && slept < kShortestSleep) return;
  asleep_ = asleep;
  if (!looked_) {
    looked_ = true;
    return;
  }
  if (sleeps_.size() == kMaxSleeps) {
    sleeps_[1].length = sleeps_[0].length + sleeps_[1].length;
    sleeps_.erase(sleeps_.begin());
  }
  sleeps_.push_back({now, slept});
}

Duration SleepLog::since(Instant at) const {
  Duration all;
  for (auto sleep = sleeps_.rbegin(); sleep != sleeps_.rend() && sleep->seen >= at; ++sleep)
    all = all + sleep->length;
  return all;
}

}  // namespace mtd::supervisor
