// Back-off: how long a slot waits before its next process. Two ladders, never mixed: one for
// programs that ran and failed, one for processes that never came to be.
#pragma once

#include <cstdint>

#include "common/entropy.h"
#include "config/pool_spec.h"

namespace mtd::model {

// initial × factor^streak, at most max, then stretched by up to `jitter`.
[[nodiscard]] Duration crash_delay(const config::Backoff& backoff, std::uint32_t streak,
                                   Entropy& entropy);

// Refusals that pass by themselves (EAGAIN, ENOMEM, EMFILE, …): 50 ms × 2^streak, at most 5 s.
// Errors that stay until someone changes something (a missing file or right): as crash_delay.
[[nodiscard]] Duration spawn_delay(const config::Backoff& backoff, int stage, int error,
                                   std::uint32_t streak, Entropy& entropy);
[[nodiscard]] bool is_permanent(int stage, int error);

// The first stage that the child performs on its own behalf; what comes before is the kernel making
// a process, and heals. The numbers are the keeper protocol's.
inline constexpr int kFirstOwnStage = 4;

}  // namespace mtd::model
