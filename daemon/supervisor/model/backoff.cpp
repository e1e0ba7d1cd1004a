#include "daemon/supervisor/model/backoff.h"

#include <algorithm>
#include <cerrno>
#include <cmath>

namespace mtd::model {
namespace {

constexpr Duration kSpawnInitial = Duration::milliseconds(50);
constexpr Duration kSpawnMax = Duration::seconds(5);

Duration stretched(Duration delay, double jitter, Entropy& entropy) {
  if (jitter <= 0 || delay.is_infinite()) return delay;
  return delay.scaled_by(1 + jitter * entropy.fraction());
}

}  // namespace

Duration crash_delay(const config::Backoff& backoff, std::uint32_t streak, Entropy& entropy) {
  const double factor = std::pow(std::max(1.0, backoff.factor), std::min(streak, 1000U));
  const Duration delay = std::min(backoff.max, backoff.initial.scaled_by(std::min(factor, 1e15)));
  return stretched(delay, backoff.jitter, entropy);
}

bool is_permanent(int stage, int error) {
  if (stage < kFirstOwnStage) return false;
  switch (error) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EINTR:
    case ENOBUFS:
    case ENOSPC:
    case ETXTBSY:
    case EBUSY:
    case ETIMEDOUT:
      return false;
    default:  // NOLINT: errno is an open set
      return true;
  }
}

Duration spawn_delay(const config::Backoff& backoff, int stage, int error, std::uint32_t streak,
                     Entropy& entropy) {
  if (is_permanent(stage, error)) return crash_delay(backoff, streak, entropy);
  const auto doubling = static_cast<double>(1U << std::min(streak, 20U));
  const Duration delay = std::min(kSpawnMax, kSpawnInitial.scaled_by(doubling));
  return stretched(delay, backoff.jitter, entropy);
}

}  // namespace mtd::model
