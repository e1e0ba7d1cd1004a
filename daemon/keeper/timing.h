// How long the keeper waits for what. A table of its own, so that the tests can link the keeper
// with a quicker one; nothing at run time changes it.
#pragma once

#include <cstdint>

namespace mtd::keeper {

inline constexpr std::int64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;

struct Timing {
  // The supervisor seems to hang: unread messages → ping → SIGABRT → SIGKILL → not waited for.
  std::int64_t unread_check = 5 * kSecond;  // a message sent, to the look whether it was read
  std::int64_t pong = 10 * kSecond;
  std::int64_t abort = 5 * kSecond;
  std::int64_t reap = kSecond;
  // It dies: restarted at once, up to 60 deaths in `death_window`.
  std::int64_t first_backoff = 100 * kMillisecond;
  std::int64_t max_backoff = 5 * kSecond;
  std::int64_t stable_after = 10 * kSecond;
  std::int64_t death_window = 60 * kSecond;
  // mtd is asked to stop, and the supervisor does not take note of it.
  std::int64_t stop_ack = 5 * kSecond;
  std::int64_t ask = 10 * kSecond;   // TERM to KILL in the keeper's own stop
  std::int64_t kill = 10 * kSecond;  // then what is left is stuck in the kernel
  std::int64_t kill_again = 100 * kMillisecond;
  // From a SIGCHLD to the look for others that it stood for: longer than a crash to its restart.
  std::int64_t scan = 3 * kMillisecond;
  // An upgrade: the old supervisor leaves, the new one is ready, all set-ups under way are over.
  std::int64_t leave = 5 * kSecond;
  std::int64_t prove = 10 * kSecond;
  std::int64_t drain = 10 * kSecond;
  std::int64_t ready_retry = 100 * kMillisecond;
};

extern const Timing kTiming;

}  // namespace mtd::keeper
