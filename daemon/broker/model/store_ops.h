// What the model asks of the store, and what it is told when that has been done. An operation
// counts from its completion on: until then nobody but the model has heard of it. The store takes
// the operations of one queue in order; each is done whole or not at all.
//
// Each has a guard, so that a task can end only once: claim, finish, requeue and cancel apply to a
// task that is not final and whose number of attempts is the one the operation names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/broker/model/values.h"

namespace mtd::task {

struct NewTask {
  TaskFacts facts;
  BodyRef body;
};

// All of them or none. A task whose uid the store has, or whose unique key a task that is not final
// has in this pool, is not made: the one that is there answers for it.
struct PutOp {
  Ticket ticket;
  std::string pool;
  std::vector<NewTask> tasks;
};
// SCHEDULED or WAITING → RUNNING. attempt: the new number, one more than before.
struct ClaimOp {
  TaskId id;
  std::uint32_t attempt = 0;
  WorkerKey worker;
  WallTime started;
  bool only_one = false;  // no other attempt may follow, also where the power goes during this one
};
// Any state that is not final → `state`.
struct FinishOp {
  TaskId id;
  std::uint32_t attempt = 0;  // as counted so far
  TaskState state = TaskState::done;
  Reason reason = Reason::none;
  Counters counters;
  WallTime finished;
  std::optional<AttemptRecord> record;  // of the attempt that this ends; empty: none was running
  AnswerRef answer;                     // may be empty
};
// RUNNING → WAITING, or SCHEDULED until `due`.
struct RequeueOp {
  TaskId id;
  std::uint32_t attempt = 0;
  TaskState state = TaskState::waiting;
  Reason reason = Reason::none;
  WallTime due;
  std::uint64_t order = 0;
  Counters counters;
  AttemptRecord record;
  AnswerRef answer;  // the error, if the worker told one
};
// SCHEDULED → WAITING: its time has come.
struct PromoteOp {
  TaskId id;
  std::uint64_t order = 0;
};
// A running task is to be cancelled, which outlives a restart of mtd.
struct CancelOp {
  TaskId id;
  std::uint32_t attempt = 0;
  Reason reason = Reason::user;
};
// DEAD, CANCELLED or EXPIRED → WAITING, with nothing left of its end. What counts against it begins
// at 0; its attempts are counted on, so that no two of them are alike for a worker. Refused
// (duplicate) when its unique key is taken.
struct ReviveOp {
  Ticket ticket;
  TaskId id;
  std::string pool;
  std::uint64_t order = 0;
};
// Forgets final tasks of a pool that ended before these times, at most `limit`, oldest first.
struct CollectOp {
  std::string pool;
  WallTime done_before;  // of DONE, CANCELLED and EXPIRED
  WallTime dead_before;
  std::uint32_t limit = 1000;
};
// Forgets these tasks, as far as they are final: their client has what it wanted. The shell's own.
struct RemoveOp {
  std::vector<TaskId> ids;
};
// Is there room again? Asked from time to time while there was none.
struct ProbeOp {};

struct StoreOp {
  std::uint64_t token = 0;  // whoever submits it may number it; it comes back
  // Finish, requeue, cancel: the claim of the attempt may be kept elsewhere, so that the store has
  // heard of one attempt less. The shell's own.
  bool claimed_apart = false;
  Durability durability = Durability::fsync;
  std::variant<PutOp, ClaimOp, FinishOp, RequeueOp, PromoteOp, CancelOp, ReviveOp, CollectOp,
               RemoveOp, ProbeOp>
      what;
};

// Whether its loss with the power would break a promise.
[[nodiscard]] inline bool needs_sync(const StoreOp& op) {
  const auto* claim = std::get_if<ClaimOp>(&op.what);
  return op.durability == Durability::fsync &&
         (std::holds_alternative<PutOp>(op.what) || std::holds_alternative<FinishOp>(op.what) ||
          std::holds_alternative<CancelOp>(op.what) || std::holds_alternative<ReviveOp>(op.what) ||
          (claim != nullptr && claim->only_one));
}
// Whether its completion comes only when the disk has it. That of a put does not: its task may be
// begun before, and whoever put it hears of it when the disk has it. Completions that wait come in
// their order, and so do all others; between the two kinds there is none.
[[nodiscard]] inline bool waits_for_sync(const StoreOp& op) {
  return needs_sync(op) && !std::holds_alternative<PutOp>(op.what);
}
enum class StoreStatus : std::uint8_t {
  committed,
  duplicate,  // revive: its unique key is taken
  missing,    // no such task, or not in a state for this
  full,       // no room now; nothing was changed, and it may be tried again
  failed,     // the store is broken for good: nothing is known, nothing may be told
};

enum class Existed : std::uint8_t { no, by_uid, by_unique };
struct PutOutcome {
  TaskId id;  // of the task that stands for it: the one asked for, or the one there was
  Existed existed = Existed::no;
  bool operator==(const PutOutcome&) const = default;
};

struct StoreDone {
  StoreOp op;  // as submitted
  StoreStatus status = StoreStatus::committed;
  std::vector<PutOutcome> puts;    // put: one for each of its tasks
  std::optional<TaskFacts> facts;  // revive: the task as it is now
  BodyRef body;                    // claim: what the worker is to be sent
  // collect: when the oldest final task that is left ended; never(): there is none
  WallTime oldest_done = WallTime::never(), oldest_dead = WallTime::never();
  std::uint32_t removed = 0;       // collect, remove
  std::vector<std::string> files;  // … Answer::file of what was removed: nobody needs it any more
};

}  // namespace mtd::task
