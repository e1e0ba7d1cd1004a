// The values of the task plane: identities, wall-clock time, and all that is known of a task. Plain
// data, shared by the model and the stores. The words that people read for them: vocabulary.h.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/time.h"

namespace mtd::task {

// Unique over all pools of a store, growing, never given twice. 0: none.
struct TaskId {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const TaskId&, const TaskId&) = default;
};

// A worker process, as the supervisor names it.
struct WorkerKey {
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
  friend constexpr auto operator<=>(const WorkerKey&, const WorkerKey&) = default;
};

// A client's request, numbered by the shell; its answer carries the number back. 0: nobody listens.
struct Ticket {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Ticket&, const Ticket&) = default;
};

// Nanoseconds since 1970 (CLOCK_REALTIME). Only what has to mean something after a restart of the
// machine is told in it; how long anything lasts is measured with Instant.
struct WallTime {
  std::int64_t ns = 0;
  [[nodiscard]] static constexpr WallTime never() {
    return WallTime{std::numeric_limits<std::int64_t>::max()};
  }
  [[nodiscard]] constexpr bool is_never() const { return *this == never(); }
  friend constexpr auto operator<=>(const WallTime&, const WallTime&) = default;
  // Saturates at never().
  friend constexpr WallTime operator+(WallTime at, Duration d) {
    if (d.is_infinite() || at.ns > never().ns - d.count_ns()) return never();
    return WallTime{at.ns + d.count_ns()};
  }
  // 0 when `earlier` is in fact later.
  [[nodiscard]] constexpr Duration since(WallTime earlier) const {
    return Duration::nanoseconds(ns - earlier.ns);
  }
};

// Both clocks, read together.
struct Now {
  Instant instant;
  WallTime wall;
};

enum class TaskState : std::uint8_t {
  scheduled,  // waits for its time
  waiting,    // waits for a worker
  running,
  done,
  dead,  // given up: the dead letters
  cancelled,
  expired,
};
[[nodiscard]] constexpr bool is_final(TaskState state) {
  return state >= TaskState::done;
}

// What an accepted put survives. Never more than the pool grants.
enum class Durability : std::uint8_t {
  fsync,    // loss of power
  process,  // kill -9 of all of mtd
  memory,   // nothing: the tasks of an attached client
};

// Why a task ended as it did, or why its last attempt is to be repeated.
enum class Reason : std::uint8_t {
  none,
  failed,          // the worker said so
  no_retry,        // … and that trying again is of no use
  timeout,         // an attempt took too long
  crashed,         // the worker died of itself
  interrupted,     // mtd ended the worker, or died itself
  user,            // cancelled by a command
  detached,        // cancelled because its client has gone
  expired,         // not begun in time
  result_too_big,  // done, but what it made cannot be kept
};

// How a worker that held tasks came to its end, as far as its tasks are concerned.
enum class DeathCause : std::uint8_t {
  vanished,  // nobody can tell
  exit,      // number: exit code
  signal,    // number: the signal
  oom,       // the kernel's want of memory
  protocol,  // killed for what it sent
  stopped,   // by mtd's own decision: never its tasks' fault
};
struct Death {
  DeathCause cause = DeathCause::vanished;
  int number = 0;
  bool operator==(const Death&) const = default;
};

enum class AttemptOutcome : std::uint8_t {
  done,
  failed,
  timeout,
  crashed,
  cancelled,
  interrupted,  // mtd ended the worker, or died itself
  given_back,   // the worker died before it heard of the task
};

// Counted apart, since each has a budget of its own (tasks.max_attempts, tasks.max_crashes; none).
struct Counters {
  std::uint32_t attempts = 0;    // claims, so also attempts that nobody heard the end of
  std::uint32_t failures = 0;    // the worker said so, or the time-out
  std::uint32_t crashes = 0;     // the worker died of itself
  std::uint32_t recoveries = 0;  // the worker was ended, or mtd was: never a reason to give up
  bool operator==(const Counters&) const = default;
};

// What a client sends with a task. Never looked at by the model; passed on by reference.
struct TaskBody {
  std::string uid;   // the client's own name of the task, unique in the store; empty: none
  std::string name;  // of what is to be done; empty: none
  std::string args;  // JSON text
  std::string data;  // raw bytes
  [[nodiscard]] std::uint64_t bytes() const {
    return uid.size() + name.size() + args.size() + data.size();
  }
};
using BodyRef = std::shared_ptr<const TaskBody>;

// What a worker says at the end of an attempt. Never looked at by the model.
struct Answer {
  std::string result;  // JSON text; empty: none
  std::string data;    // raw bytes
  std::string file;    // where the data is when it is too large for the store; empty: in `data`
  std::string error;   // JSON text: {"type","message","trace"}; empty: none
  bool operator==(const Answer&) const = default;
};
using AnswerRef = std::shared_ptr<const Answer>;

// All that decides a task's future. The store keeps it, the model begins with it after a restart.
struct TaskFacts {
  TaskId id;
  TaskState state = TaskState::waiting;
  std::int32_t priority = 0;  // −100…100, lower first
  std::uint64_t order = 0;    // among tasks of one priority, lower first
  Counters counters;
  std::uint32_t max_attempts = 0;        // 0: the pool's
  std::optional<Duration> timeout;       // of an attempt; empty: the pool's
  WallTime due;                          // scheduled: when it may run
  WallTime expires = WallTime::never();  // not begun by then: EXPIRED
  WallTime created;
  WallTime started;              // running: of the attempt
  WorkerKey worker;              // running: who has it
  bool due_by_wall = false;      // `due` is an appointment, not a pause
  std::optional<Reason> cancel;  // running: its cancellation is on record
  Durability durability = Durability::fsync;
  std::uint64_t bytes = 0;  // of its body
  std::string group;        // empty: none
  std::string unique;       // one such task at a time in its pool; empty: none
  bool operator==(const TaskFacts&) const = default;
};

// One attempt that is over.
struct AttemptRecord {
  std::uint32_t attempt = 0;
  WorkerKey worker;
  WallTime started, ended;
  AttemptOutcome outcome = AttemptOutcome::done;
  Death death;  // crashed, timeout, interrupted
  bool operator==(const AttemptRecord&) const = default;
};

}  // namespace mtd::task
