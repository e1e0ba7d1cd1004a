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

// A roll-out replaces outdated processes, so many slots at a time as `reload` says. Until one
// process of the new revision has been ready for min_uptime it is one slot, and that is waited for;
// from then on readiness is enough.
struct Rollout {
  bool active = false;
  bool proven = false;
  bool failed = false;         // the last one; false again with the next
  std::uint32_t failures = 0;  // of processes of the new revision
  bool paused = false;
  bool back = false;      // to a revision that was in force before: it does not fail
  bool settling = false;  // slots of an earlier roll-out come to their end first
  bool operator==(const Rollout&) const = default;
};
inline constexpr std::uint32_t kRolloutFailures = 3;

// A revision that did not come up, and the end of one of its processes that decided so.
struct FailedRevision {
  Revision revision;
  std::uint32_t slot = 0;
  ExitRecord exit;
  bool operator==(const FailedRevision&) const = default;
};

// Slots whose process is to be replaced, per reason; a slot leaves when its turn has come.
struct Queues {
  std::set<std::uint32_t> recycle, reload, restart;
};

// Of a dynamic pool: how many workers it may have, and since when it has had more than it needs.
// The need is looked at over a window that begins when it falls below what there is. At its end the
// pool shrinks to the most that was needed in it; so a worker ends only after it was not needed for
// the whole of the quiet time, and a need that comes and goes ends none.
struct Scaling {
  std::uint32_t granted = 0;  // what it has, and the lower bound, nobody takes away
  std::uint32_t claimed = 0;  // asked for and not granted; 0: nothing is
  Restraint restraint{};
  bool demanded = false;             // a first worker is on its way, for someone who waits
  Instant until = Instant::never();  // end of the window; never: there is none
  std::uint32_t peak = 0;            // the most that was needed in it
  bool operator==(const Scaling&) const = default;
};

inline constexpr std::size_t kWorkerStates = 14;

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
  std::uint32_t programs = 0;                // of slots < want: a program runs
  std::uint32_t draining = 0;                // stopped with all the time they need
  std::uint32_t surging = 0;                 // slots with two processes because of a roll-out
  std::uint32_t missing = 0;                 // slots without a ready one because of it
  std::uint32_t busy = 0, telling = 0;       // of slots < want
  std::array<std::uint32_t, 4> replacing{};  // slots, by Replacing
};

struct Pool::State {
  config::PoolSpec spec;
  std::uint64_t revision = 0;
  std::optional<std::uint32_t> want_override;
  bool stopped = false;                // wanted: nothing
  bool held_back = false;              // wanted: nothing, until what it depends on is there
  std::optional<StopManner> stop_due;  // noted, for when nothing needs the pool
  bool awake = false;                  // the first event that is not Adopted has come
  std::optional<Instant> frozen_since;
  bool was_full = false;  // all wanted slots have been ready since the last start or growth
  Breaker breaker;
  CrashWindow crashes;
  Rollout rollout;
  std::optional<Revision> previous;
  std::optional<FailedRevision> failed;
  std::optional<Scaling> scaling;  // of a dynamic pool
  std::set<std::uint32_t> parked;  // slots that rest so
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

  [[nodiscard]] bool is_dynamic() const { return spec.scaling.max != 0; }
  // Slots that may have a worker; in a dynamic pool all that are not parked.
  [[nodiscard]] std::uint32_t want() const {
    if (is_dynamic()) return static_cast<std::uint32_t>(slots.size() - parked.size());
    return want_override.value_or(spec.workers);
  }
  [[nodiscard]] bool has_place(std::uint32_t slot) const {
    return is_dynamic() ? !rests_as<Parked>(slots[slot]) : slot < want();
  }
  [[nodiscard]] bool wants(std::uint32_t slot) const {
    return !stopped && !held_back && has_place(slot) && !rests_as<Held>(slots[slot]);
  }
  // Of a dynamic pool (scaling.cpp).
  [[nodiscard]] std::uint32_t least() const;
  [[nodiscard]] std::uint32_t most() const;    // by configuration or by hand
  [[nodiscard]] std::uint32_t needed() const;  // workers, from least to most; held slots count
  [[nodiscard]] bool is_outdated(const Process& process) const {
    return process.fingerprint != spec.spawn_fingerprint;
  }
  [[nodiscard]] PoolState state_now() const;  // view.cpp
  // While a roll-out is under way the revision before it is the last one known to be good.
  [[nodiscard]] Revision fallback_of_change() const {
    if (rollout.active && !rollout.back && previous) return *previous;
    return {revision, std::make_shared<const config::PoolSpec>(spec)};
  }
};

}  // namespace mtd::model
