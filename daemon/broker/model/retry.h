// How long a task waits before its next attempt. Two ladders: one for what workers say, one for
// workers that die.
#pragma once

#include <cstdint>

#include "common/entropy.h"
#include "daemon/broker/model/events.h"

namespace mtd::task {

// retry_delay × 2^(failures − 1), at most retry_max; then a random half of it is left out, so that
// what failed together is not repeated together.
[[nodiscard]] Duration failure_delay(const QueueSpec& spec, std::uint32_t failures,
                                     Entropy& entropy);
// 0 after the first crash; then kCrashDelay × 2^(crashes − 2), at most retry_max, with the same
// jitter. Want of memory does not pass at once: there the first pause is kCrashDelay already.
[[nodiscard]] Duration crash_delay(const QueueSpec& spec, std::uint32_t crashes, bool oom,
                                   Entropy& entropy);

}  // namespace mtd::task
