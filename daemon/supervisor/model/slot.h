// A slot: a numbered place for one worker. It outlives its processes: incarnations are counted
// here, so that no key is ever used twice.
//
// `rest` says what the slot does when no current process stands in it:
//   idle       it may have one as soon as it is wanted and nothing is in the way
//   backing_off  the last one failed; not before `until`, and only if the breaker lets it
//   failed     it will not be tried again until a person says so
//   held       a person stopped this slot
//   completed  the program has done what it had to do
//   parked     the pool, a dynamic one, does not need it
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "daemon/supervisor/model/worker.h"

namespace mtd::model {

inline constexpr std::size_t kMaxExitRecords = 8;
// Left-overs that orphans: keep lets live, per slot; beyond, the oldest are killed.
inline constexpr std::size_t kMaxKept = 8;

struct Idle {
  bool operator==(const Idle&) const = default;
};
struct BackingOff {
  Instant until;
  bool operator==(const BackingOff&) const = default;
};
struct Failed {
  bool operator==(const Failed&) const = default;
};
struct Held {
  bool operator==(const Held&) const = default;
};
struct Completed {
  bool operator==(const Completed&) const = default;
};
struct Parked {
  bool operator==(const Parked&) const = default;
};
using Rest = std::variant<Idle, BackingOff, Failed, Held, Completed, Parked>;

// What a slot's process is being replaced for; each kind has a limited number of slots at a time.
enum class Replacing { no, recycle, reload, restart };

// A slot's part of the pool's sums.
struct Tally {
  WorkerState state = WorkerState::stopped;
  bool counted = false;  // slot < want: state is part of the pool's state
  bool ready = false;
  bool unsettled = false;  // something is on its way
  bool waiting = false;    // backing off
  bool held = false;
  bool programs = false;  // a program runs
  bool draining = false;  // one is stopped with all the time it needs
  bool surging = false;   // a roll-out has a second process in it
  bool missing = false;   // a roll-out has left it without a ready one
  bool busy = false;      // its current process is ready and works
  bool tells = false;     // … has told whether it works
  std::uint32_t alive = 0;
  std::uint32_t outdated = 0;
  std::uint32_t stuck = 0;
  bool operator==(const Tally&) const = default;
};

struct Slot {
  std::vector<Process> processes;  // oldest first
  Rest rest;
  Replacing replacing = Replacing::no;
  bool dirty = false;              // in the list of slots to reconcile
  bool touched = false;            // in the list of slots that were changed
  std::uint32_t crash_streak = 0;  // failures since the last stable run
  std::uint32_t spawn_streak = 0;  // refusals since the last program that ran
  std::uint64_t incarnation = 0;   // of the newest process ever asked for
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0;
  std::vector<ExitRecord> exits;  // last first
  std::uint64_t exits_told = 0;   // ever; those in `exits` are the last of them
  Tally tally;
  bool operator==(const Slot&) const = default;

  [[nodiscard]] Process* find(std::uint64_t with_incarnation);
  [[nodiscard]] const Process* current() const;
  [[nodiscard]] Process* current();
  [[nodiscard]] const Process* draining() const;
  void erase(std::uint64_t with_incarnation);
  void remember(const ExitRecord& record);
};

template <class T>
[[nodiscard]] bool rests_as(const Slot& slot) {
  return std::holds_alternative<T>(slot.rest);
}

}  // namespace mtd::model
