// A process of a pool, as the model sees it: one incarnation of a slot in one of ten states.
//
//   requested   the keeper was asked; no process is known to exist. Nothing may be signalled yet: a
//   stop
//               that comes now is kept as `cancelled` and carried out when the process is there.
//   launching   it exists and sets itself up; the program has not begun.
//   warming     the program runs and has not said READY=1 yet (ready: notify).
//   up          it serves.
//   unready     its ready probe failed: it lives and does not serve until the probe passes again.
//   draining    it serves, and its end is decided: a replacement is being made ready, or it has
//   said
//               STOPPING=1 and goes by itself (then with a deadline).
//   stopping    a stop signal is sent; at the deadline the next one is, at the end the tree is
//   killed. killing     SIGKILL is sent to the tree; the grace is for the kernel. stuck       it
//   outlived SIGKILL (an uninterruptible sleep); named, waited for by no one. emptying    the main
//   process is reaped, its descendants are not known to be gone.
//
// The first six are "serving", the next three "ending". A deadline lives in the state it belongs
// to; what a program is asked in turns while it serves lives in `watch`.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "daemon/supervisor/model/pool.h"

namespace mtd::model {

// How long SIGKILL may take before what it was sent to is called stuck.
inline constexpr Duration kKillGrace = Duration::seconds(5);

struct Requested {
  std::optional<ExitCause> cancelled;
  bool operator==(const Requested&) const = default;
};
struct Launching {
  Instant deadline;
  bool operator==(const Launching&) const = default;
};
struct Warming {
  Instant deadline;
  bool operator==(const Warming&) const = default;
};
struct Up {
  Instant since;
  bool operator==(const Up&) const = default;
};
struct Draining {
  ExitCause cause{};
  Instant deadline = Instant::never();
  bool operator==(const Draining&) const = default;
};
struct Stopping {
  ExitCause cause{};
  Instant deadline;
  std::uint8_t step = 0;  // of the stop's steps: the one whose signal was sent
  bool drain = false;     // it has all the time it needs
  bool operator==(const Stopping&) const = default;
};
struct Killing {
  ExitCause cause{};
  Instant deadline;
  bool operator==(const Killing&) const = default;
};
struct Stuck {
  ExitCause cause{};
  bool operator==(const Stuck&) const = default;
};
enum class EmptyingPhase {
  waiting,  // descendants may end by themselves until the deadline
  killed,   // SIGKILL is sent; the deadline is the grace
  stuck,    // they outlived it
  kept,     // orphans: keep; only a stop ends them
};
struct Emptying {
  EmptyingPhase phase{};
  ExitCause cause{};  // of the main process's exit
  Instant deadline = Instant::never();
  bool operator==(const Emptying&) const = default;
};

struct Unready {
  Instant since;
  bool operator==(const Unready&) const = default;
};

// The index is part of the state that outlives a supervisor: new ones come last.
using ProcessState = std::variant<Requested, Launching, Warming, Up, Draining, Stopping, Killing,
                                  Stuck, Emptying, Unready>;

// A probe of a process: made at `at`, under way until it is answered, then made again.
struct ProbeTurn {
  Instant at = Instant::never();  // of the next one; never(): none is made
  bool under_way = false;
  std::uint8_t failures = 0;  // in a row
  bool operator==(const ProbeTurn&) const = default;
};
// What a program has to do so that it counts as well. Empty before it runs and once it is ended.
struct Watch {
  // The watchdog of its revision, or what it has said since; zero: none, infinite: it wants none.
  Duration alive_every;
  Instant alive_until = Instant::never();  // by then WATCHDOG=1 is due
  ProbeTurn live, ready;
  [[nodiscard]] ProbeTurn& of(ProbeRole role) { return role == ProbeRole::live ? live : ready; }
  [[nodiscard]] const ProbeTurn& of(ProbeRole role) const {
    return role == ProbeRole::live ? live : ready;
  }
  bool operator==(const Watch&) const = default;
};
// After what it is recycled, beside its tasks. Drawn for each incarnation.
struct Limits {
  std::uint64_t rss = 0;               // bytes; 0: none
  bool rss_exceeded = false;           // as of the last measurement
  Instant expires = Instant::never();  // recycle.max_lifetime
  Duration idle;                       // recycle.idle_timeout; zero: none
  Instant idle_until = Instant::never();
  bool operator==(const Limits&) const = default;
};

// What a worker has told of its work.
enum class Activity { unknown, idle, busy };

struct Process {
  std::uint64_t incarnation = 0;
  std::uint64_t revision = 0;
  std::uint64_t fingerprint = 0;  // of what it was started with
  Instant started;                // of the program; of the request until that is confirmed
  std::uint64_t tasks = 0;
  std::uint64_t task_limit = 0;  // 0: none
  int pid = 0;                   // 0: not known
  bool frozen = false;           // its deadlines stand still
  Activity activity{};
  bool expected = false;  // remembered; the keeper has not said yet that it is there
  Limits limits;
  Watch watch;
  ProcessState state;
  bool operator==(const Process&) const = default;
};

template <class T>
[[nodiscard]] bool is(const Process& process) {
  return std::holds_alternative<T>(process.state);
}

[[nodiscard]] bool is_serving(const Process& process);
// Serving, and neither draining nor cancelled: the one the slot counts on.
[[nodiscard]] bool is_current(const Process& process);
[[nodiscard]] bool is_kept(const Process& process);
// Up or Unready: its start is complete, and its end is not decided.
[[nodiscard]] bool is_started(const Process& process);
// There is a program that can be signalled or frozen: executed, not reaped.
[[nodiscard]] bool is_running(const Process& process);
// Why it is being ended; empty while its end is not decided.
[[nodiscard]] std::optional<ExitCause> ending_cause(const Process& process);
// When its state has to be looked at again; never() while frozen.
[[nodiscard]] Instant deadline_of(const Process& process);
// Whether its probe is made in this state.
[[nodiscard]] bool is_asked(const Process& process, ProbeRole role);
// When something of `watch` is due; never() where nothing is, or while frozen.
[[nodiscard]] Instant next_watch(const Process& process);
// When it reaches its next limit of time, after `now`.
[[nodiscard]] Instant next_limit(const Process& process, Instant now);
// The limit it has reached.
[[nodiscard]] std::optional<ExitCause> due_cause(const Process& process, Instant now);
// All deadlines and the time it is up move by as long as it was frozen.
void shift_deadlines(Process& process, Duration by);
[[nodiscard]] WorkerState printed_state(const Process& process);

// The step of this number; beyond the last one, the last.
[[nodiscard]] config::StopStep step_of(const config::StopSpec& stop, std::uint32_t step);

// Causes that end a process in order to have a newer one in its place.
[[nodiscard]] bool is_replacement(ExitCause cause);

}  // namespace mtd::model
