// What a pool remembers beyond the supervisor's life: all that decides its future. Plain data; the
// shell keeps it slot by slot (take_touched() says which), and hands it to the pool's next life.
// Times are of a clock that goes on meanwhile.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "daemon/supervisor/model/state.h"

namespace mtd::model {

struct SlotMemory {
  Slot slot;  // tally, dirty and touched mean nothing here
  bool recycle = false, reload = false, restart = false;  // waits for its turn
  bool operator==(const SlotMemory&) const = default;
};

struct PoolMemory {
  std::uint64_t fingerprint = 0;      // of the spec it was for; 0: not known
  std::optional<std::uint32_t> want;  // set at run time
  bool stopped = false;
  bool held_back = false;
  std::optional<StopManner> stop_due;
  std::optional<bool> enabled;  // in place of what the configuration says
  bool was_full = false;
  std::optional<Instant> frozen_since;
  Breaker breaker;
  CrashWindow crashes;
  Rollout rollout;
  std::optional<Revision> previous;
  std::optional<FailedRevision> failed;
  std::optional<Scaling> scaling;
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0, stale_facts = 0;
  PoolState shown = PoolState::stopped;
  std::optional<Instant> shown_since;
  std::map<std::uint32_t, SlotMemory> slots;
  bool operator==(const PoolMemory&) const = default;
};

}  // namespace mtd::model
