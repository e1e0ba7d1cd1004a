// What a queue wants done. The shell performs the actions of a step in their order. What a client
// or worker is told here is true and, where durability asks for it, on disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/broker/model/store_ops.h"
#include "daemon/broker/model/values.h"

namespace mtd::task {

// ---- Workers ------------------------------------------------------------------------------------
// Send the task; its claim is on record. The completion that led to this holds the body, except
// again: then the worker may have it already, and the body is to be asked of the store.
struct SendTask {
  WorkerKey worker;
  TaskId id;
  std::uint32_t attempt = 0;
  std::optional<Duration> timeout;  // what the worker is told
  bool again = false;
};
enum class CancelCause : std::uint8_t { user, timeout, drain };
struct SendCancel {
  WorkerKey worker;
  TaskId id;
  CancelCause cause = CancelCause::user;
  Duration grace;
};
struct SendDrain {
  WorkerKey worker;
  std::optional<Duration> deadline;
};
enum class KillCause : std::uint8_t { task_timeout, cancelled, protocol };
// The supervisor is to end it with its whole tree; WorkerLost follows.
struct KillWorker {
  WorkerKey worker;
  KillCause cause = KillCause::task_timeout;
};
// How many tasks it has; said when this changes between none and some.
struct WorkerLoad {
  WorkerKey worker;
  std::uint32_t running = 0;
  std::uint64_t answered = 0;  // in its life, as far as this queue has seen it
};
// It is given no more tasks (its limit, or it asked): a replacement is to be started.
struct WorkerSpent {
  WorkerKey worker;
};
// It drains and holds no task any more: it may be stopped.
struct WorkerDrained {
  WorkerKey worker;
};
// The frame of this answer may be consumed: the answer is on record, or refused for good.
struct AnswerSettled {
  WorkerKey worker;
  TaskId id;
  std::uint32_t attempt = 0;
  bool taken = true;  // false: too late, of an attempt that was given up
};

// ---- Clients ------------------------------------------------------------------------------------
enum class Refusal : std::uint8_t {
  queue_full,        // now; try again later
  too_many_waiting,  // on a full queue, and so many puts wait for room already
  too_large,         // the batch is larger than the queue
  closed,            // the queue accepts nothing
  store_full,        // disk or quota
  store_failed,      // for good, until mtd is started again
  no_such_task,      // revive: unknown, or not of a kind that can be revived
  unique_taken,      // revive: another task has its key
};
struct PutAccepted {
  Ticket ticket;
  std::vector<PutOutcome> tasks;  // in the order of the put
};
struct Refused {  // of Put and Revive
  Ticket ticket;
  Refusal why = Refusal::queue_full;
};
struct Revived {
  Ticket ticket;
  TaskId id;
};
struct CancelAnswered {
  Ticket ticket;
  std::uint32_t cancelled = 0;  // at once
  std::uint32_t asked = 0;      // running: told to stop
  std::uint32_t unknown = 0;    // of the ids: final already, or never there
};
// A task is final. For those who wait for it.
struct Settled {
  TaskId id;
  TaskState state = TaskState::done;
  Reason reason = Reason::none;
  Death death;  // of a worker, where one is the reason
  std::uint32_t attempts = 0;
  AnswerRef answer;   // empty: there is none
  std::string group;  // empty: none
};
// No task of this group is left that is not final.
struct GroupSettled {
  std::string group;
};
// No task is left that is not final (said when this becomes true).
struct QueueDrained {};

// ---- Store --------------------------------------------------------------------------------------
struct Submit {
  StoreOp op;
};

using Action = std::variant<Submit, SendTask, SendCancel, SendDrain, KillWorker, WorkerLoad,
                            WorkerSpent, WorkerDrained, AnswerSettled, PutAccepted, Refused,
                            Revived, CancelAnswered, Settled, GroupSettled, QueueDrained>;

}  // namespace mtd::task
