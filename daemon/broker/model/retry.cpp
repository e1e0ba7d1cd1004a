#include "daemon/broker/model/retry.h"

#include <algorithm>

#include "daemon/broker/model/queue.h"

namespace mtd::task {
namespace {

Duration doubled(Duration first, std::uint32_t times, Duration most, Entropy& entropy) {
  const auto factor = static_cast<double>(std::uint64_t{1} << std::min(times, 62U));
  const Duration whole = std::min(most, first.scaled_by(factor));
  return whole.is_infinite() ? whole : whole.scaled_by(1 - entropy.fraction() / 2);
}

}  // namespace

Duration failure_delay(const QueueSpec& spec, std::uint32_t failures, Entropy& entropy) {
  return doubled(spec.retry_delay, std::max(failures, 1U) - 1, spec.retry_max, entropy);
}

Duration crash_delay(const QueueSpec& spec, std::uint32_t crashes, bool oom, Entropy& entropy) {
  const std::uint32_t rung = oom ? crashes + 1 : crashes;
  if (rung < 2) return {};
  return doubled(kCrashDelay, rung - 2, std::max(spec.retry_max, kCrashDelay), entropy);
}

}  // namespace mtd::task
