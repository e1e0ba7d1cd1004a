// What a queue is told: facts about workers, requests of clients, completions of the store. The
// shell parses and checks; the queue decides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/broker/model/store_ops.h"
#include "daemon/broker/model/values.h"

namespace mtd::task {

enum class OnFull : std::uint8_t { refuse, block };
enum class OnLost : std::uint8_t { retry, dead };

// The `tasks` object of a pool's configuration, as far as its queue is concerned.
struct QueueSpec {
  std::string pool;
  std::optional<Duration> timeout;  // of an attempt; empty: none
  Duration grace = Duration::seconds(5);
  std::uint32_t max_attempts = 3;  // ≥ 1
  Duration retry_delay = Duration::seconds(5);
  Duration retry_max = Duration::seconds(600);
  std::uint32_t max_crashes = 3;  // ≥ 1
  std::uint64_t max_queue = 100'000;
  std::uint64_t max_queue_bytes = 256ULL << 20U;
  OnFull on_full = OnFull::refuse;
  std::optional<Duration> queue_timeout;  // how long a put waits for room; empty: for ever
  std::uint32_t credit = 1;               // of a worker that names none
  Durability durability = Durability::fsync;
  Duration result_ttl = Duration::seconds(3600);
  Duration dead_ttl = Duration::seconds(14 * 86'400);
  OnLost on_lost = OnLost::retry;
};

// ---- Facts about workers ------------------------------------------------------------------------
// A worker's socket is there. task_limit: how many tasks it may be given in its life, 0: no limit.
// given: what it had been given before this queue's life (of an adopted worker).
struct WorkerAttached {
  WorkerKey worker;
  std::uint64_t task_limit = 0;
  std::uint64_t given = 0;
};
// Its first frame. credit 0: the pool's. Again, later: its new credit. An adopted worker that has
// been ready is told again.
struct WorkerReady {
  WorkerKey worker;
  std::uint32_t credit = 0;
};
// No task any more: it is to be stopped, or wants to be replaced. deadline: what it is told.
struct WorkerDrains {
  WorkerKey worker;
  std::optional<Duration> deadline;
};
// Wants to be replaced once it has done what it has.
struct WorkerRecycles {
  WorkerKey worker;
};
// Reaped, and its socket read to the end: what it has not answered by now it never will.
struct WorkerLost {
  WorkerKey worker;
  Death death;
};
// Spoke nonsense. It is killed; its tasks take the crash path when it is lost.
struct WorkerMisbehaved {
  WorkerKey worker;
};
// Its end of the socket is closed: it can be given nothing and answers nothing. Mostly it is about
// to end; if it lives on after kCloseGrace it is killed, as one that spoke nonsense.
struct WorkerClosed {
  WorkerKey worker;
};
// After a restart: every worker that lives has been attached, and every other one is lost.
struct AllAttached {};

// ---- Answers of workers -------------------------------------------------------------------------
struct TaskDone {
  WorkerKey worker;
  TaskId id;
  std::uint32_t attempt = 0;
  AnswerRef answer;
  bool too_big = false;  // what it made cannot be kept: DEAD
};
struct TaskFailed {
  WorkerKey worker;
  TaskId id;
  std::uint32_t attempt = 0;
  AnswerRef answer;
  bool retry = true;
  std::optional<Duration> delay;  // the worker knows better than the back-off
  bool crash = false;             // the adapter's program died: counts as a crash
  Death death;                    // … and how
};
struct TaskExtended {
  WorkerKey worker;
  TaskId id;
  std::uint32_t attempt = 0;  // 0: the one it has
  Duration by;                // from now
};

// ---- Requests of clients ------------------------------------------------------------------------
struct PutTask {
  TaskId id;  // given by the shell, larger than every one before
  BodyRef body;
  std::int32_t priority = 0;
  Duration delay;
  std::optional<WallTime> at;       // instead of delay
  std::optional<Duration> expires;  // from now
  std::optional<Duration> timeout;
  std::uint32_t max_attempts = 0;
  std::string group, unique;
};
// All of them or none.
struct Put {
  Ticket ticket;
  std::vector<PutTask> tasks;
  std::optional<Duration> block;              // how long to wait for room; empty: as the pool says
  Durability durability = Durability::fsync;  // at most the pool's
};
struct Cancel {
  Ticket ticket;
  std::vector<TaskId> ids;  // and
  std::string group;        // all of this group; empty: none
  bool whole_pool = false;  // or all there are
  Reason reason = Reason::user;
  bool now = false;  // running ones are killed without being asked
};
// The client that waited with a put has gone: nobody is to be told, and nothing is to be made.
struct Forget {
  Ticket ticket;
};
// A final task that is not DONE runs again, with all its attempts before it.
struct Revive {
  Ticket ticket;
  TaskId id;
};
struct Pause {};   // no task is given out; puts go on
struct Resume {};  // undoes Pause and Close
struct Close {};   // puts are refused; the rest goes on
struct Reconfigure {
  QueueSpec spec;
};
struct Tick {};  // time has passed

using Event =
    std::variant<Tick, StoreDone, TaskDone, TaskFailed, TaskExtended, Put, Cancel, Forget, Revive,
                 Pause, Resume, Close, Reconfigure, WorkerAttached, WorkerReady, WorkerDrains,
                 WorkerRecycles, WorkerLost, WorkerMisbehaved, WorkerClosed, AllAttached>;

}  // namespace mtd::task
