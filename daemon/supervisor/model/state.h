// All that a pool knows. Plain data: copying it copies the pool. Turn (turn.h) is what changes it.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "common/deadlines.h"
#include "daemon/supervisor/model/breaker.h"
#include "daemon/supervisor/model/slot.h"

namespace mtd::model {

// A roll-out replaces outdated processes slot by slot. Until one process of the new revision has
// been ready for min_uptime, the next slot waits for that; from then on it waits for readiness
// only.
struct Rollout {
  bool active = false;
  bool proven = false;
  bool failed = false;         // stopped half-way; outdated processes stay
  std::uint32_t failures = 0;  // of processes of the new revision
  bool operator==(const Rollout&) const = default;
};
inline constexpr std::uint32_t kRolloutFailures = 3;

// Slots whose process is to be replaced, per reason; a slot leaves when its turn has come.
struct Queues {
  std::set<std::uint32_t> recycle, reload, restart;
};

inline constexpr std::size_t kWorkerStates = 11;

// Sums over the slots' tallies.
struct Sums {
  std::array<std::uint32_t, kWorkerStates> by_state{};  // of slots < want
  std::uint32_t ready = 0;                              // of slots < want
  std::uint32_t alive = 0;
  std::uint32_t outdated = 0;
  std::uint32_t stuck = 0;
  std::uint32_t unsettled = 0;
  std::uint32_t waiting = 0;                 // slots backing off
  std::uint32_t held = 0;                    // of slots < want
  std::array<std::uint32_t, 4> replacing{};  // slots, by Replacing
};

struct Pool::State {
  config::PoolSpec spec;
  std::uint64_t revision = 0;
  std::optional<std::uint32_t> want_override;
  bool stopped = false;  // wanted: nothing
  bool awake = false;    // the first event that is not Adopted has come
  std::optional<Instant> frozen_since;
  bool was_full = false;  // all wanted slots have been ready since the last start or growth
  Breaker breaker;
  CrashWindow crashes;
  Rollout rollout;
  Queues queues;
  std::deque<Slot> slots;  // by number; never shrinks: a slot remembers its incarnations
  DeadlineIndex deadlines;
  std::vector<std::uint32_t> dirty;
  std::vector<std::uint32_t> touched;  // changed since take_touched()
  // Of the spec this pool had in an earlier life; 0: there was none, or nobody knows.
  std::uint64_t remembered_fingerprint = 0;
  std::set<std::uint32_t> waiting_for_breaker;
  Sums sums;
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0, stale_facts = 0;
  PoolState shown = PoolState::stopped;
  Instant shown_since;

  [[nodiscard]] std::uint32_t want() const { return want_override.value_or(spec.workers); }
  [[nodiscard]] bool wants(std::uint32_t slot) const {
    return !stopped && slot < want() && !rests_as<Held>(slots[slot]);
  }
  [[nodiscard]] bool is_outdated(const Process& process) const {
    return process.fingerprint != spec.spawn_fingerprint;
  }
  [[nodiscard]] PoolState state_now() const;  // view.cpp
};

}  // namespace mtd::model
