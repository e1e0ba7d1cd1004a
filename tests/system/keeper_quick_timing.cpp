// The times of the tests' keeper: long enough for a busy machine to answer in, short enough to
// wait.
#include "daemon/keeper/timing.h"

namespace mtd::keeper {
namespace {

constexpr Timing quick() {
  Timing timing;
  timing.unread_check = 300 * kMillisecond;
  timing.pong = 1500 * kMillisecond;
  timing.abort = 300 * kMillisecond;
  timing.max_backoff = 400 * kMillisecond;
  timing.stable_after = 1500 * kMillisecond;
  timing.stop_ack = 1500 * kMillisecond;
  timing.ask = 500 * kMillisecond;
  timing.kill = 500 * kMillisecond;
  timing.leave = 500 * kMillisecond;
  timing.prove = 1500 * kMillisecond;
  timing.drain = 1500 * kMillisecond;
  return timing;
}

}  // namespace

const Timing kTiming = quick();

}  // namespace mtd::keeper
