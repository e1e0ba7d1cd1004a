// How an attempt ends: what the worker says, or what is made of its silence.
#include "daemon/broker/model/retry.h"
#include "daemon/broker/model/turn.h"

namespace mtd::task {

// The task that this answer is of; kNone: of an attempt that is over.
Slot Turn::held(const WorkerKey& worker, TaskId id, std::uint32_t attempt) {
  const Slot slot = find(id);
  if (slot == kNone) return kNone;
  const Task& task = task_at(slot);
  const auto* running = std::get_if<Running>(&task.place);
  if (running == nullptr) return kNone;
  if (kSeededFault == SeededFault::late_answer_accepted) return slot;
  return running->worker == worker && task.counters.attempts == attempt ? slot : kNone;
}

void Turn::settle_late(const WorkerKey& worker, TaskId id, std::uint32_t attempt) {
  ++state_.counts.late_answers;
  emit(AnswerSettled{worker, id, attempt, false});
}

void Turn::count_answer(const WorkerKey& key) {
  Worker* worker = worker_of(key);
  if (worker == nullptr) return;
  ++worker->answered;
  say_load(key, *worker);
}

AttemptRecord Turn::record_of(const Task& task, AttemptOutcome outcome, const Death& death) const {
  AttemptRecord record;
  record.attempt = task.counters.attempts;
  if (const auto* running = std::get_if<Running>(&task.place)) {
    record.worker = running->worker;
    record.started = running->started;
  }
  record.ended = now_.wall;
  record.outcome = outcome;
  record.death = death;
  return record;
}

void Turn::apply(TaskDone&& fact) {
  const Slot slot = held(fact.worker, fact.id, fact.attempt);
  if (slot == kNone) return settle_late(fact.worker, fact.id, fact.attempt);
  const TaskState state = fact.too_big ? TaskState::dead : TaskState::done;
  const Reason reason = fact.too_big ? Reason::result_too_big : Reason::none;
  AttemptRecord record = record_of(task_at(slot), AttemptOutcome::done, {});
  take_from(record.worker, slot);
  count_answer(record.worker);
  finish(slot, state, reason, record, std::move(fact.answer), true);
}

void Turn::apply(TaskFailed&& fact) {
  const Slot slot = held(fact.worker, fact.id, fact.attempt);
  if (slot == kNone) return settle_late(fact.worker, fact.id, fact.attempt);
  const Task& task = task_at(slot);
  const auto& running = std::get<Running>(task.place);
  const bool timed_out = running.stage == Stage::timed_out || running.timed_out;
  if (task.cancel) {
    AttemptRecord record = record_of(task, AttemptOutcome::cancelled, {});
    finish(slot, TaskState::cancelled, *task.cancel, record, std::move(fact.answer), true);
  } else if (fact.crash && !timed_out) {
    crash(slot, fact.death, std::move(fact.answer), true);
  } else {
    const Reason reason = timed_out ? Reason::timeout : Reason::failed;
    fail(slot, reason, fact.delay, fact.retry, std::move(fact.answer), true, {});
  }
  take_from(fact.worker, slot);
  count_answer(fact.worker);
}

void Turn::apply(TaskExtended&& fact) {
  const Slot slot = find(fact.id);
  if (slot == kNone) return;
  const Task& task = task_at(slot);
  auto* running = std::get_if<Running>(&task_at(slot).place);
  if (running == nullptr || running->worker != fact.worker) return;
  if (fact.attempt != 0 && fact.attempt != task.counters.attempts) return;
  if (running->stage != Stage::working || running->deadline.is_never()) return;
  running->deadline = now_.instant + fact.by;
  arm(slot);
}

void Turn::finish(Slot slot, TaskState state, Reason reason, std::optional<AttemptRecord> record,
                  AnswerRef answer, bool answered) {
  const Task& task = task_at(slot);
  FinishOp op;
  op.id = task.id;
  op.attempt = task.counters.attempts;
  op.state = state;
  op.reason = reason;
  op.counters = task.counters;
  op.finished = now_.wall;
  op.record = record;
  op.answer = std::move(answer);
  const Durability durability = task.durability;
  move(slot, Ending{answered});
  submit(durability, std::move(op));
}

void Turn::requeue(Slot slot, Reason reason, Duration delay, bool keep_order, AttemptRecord record,
                   AnswerRef answer, bool answered) {
  Task& task = task_at(slot);
  if (!keep_order) task.order = state_.next_order++;
  RequeueOp op;
  op.id = task.id;
  op.attempt = task.counters.attempts;
  op.state = delay.is_zero() ? TaskState::waiting : TaskState::scheduled;
  op.reason = reason;
  op.due = now_.wall + delay;
  op.order = task.order;
  op.counters = task.counters;
  op.record = record;
  op.answer = std::move(answer);
  const Durability durability = task.durability;
  if (kSeededFault == SeededFault::retry_before_commit) {
    if (delay.is_zero()) {
      move(slot, Waiting{});
      return submit(durability, std::move(op));
    }
  }
  move(slot, Requeueing{answered, now_.instant + delay});
  submit(durability, std::move(op));
}

void Turn::fail(Slot slot, Reason reason, std::optional<Duration> delay, bool retry,
                AnswerRef answer, bool answered, const Death& death) {
  Task& task = task_at(slot);
  ++task.counters.failures;
  ++state_.counts.failed_attempts;
  const auto outcome = reason == Reason::timeout ? AttemptOutcome::timeout : AttemptOutcome::failed;
  AttemptRecord record = record_of(task, outcome, death);
  const std::uint32_t most = task.max_attempts != 0 ? task.max_attempts : state_.spec.max_attempts;
  if (!retry || task.counters.failures >= most) {
    const Reason why = retry ? reason : Reason::no_retry;
    return finish(slot, TaskState::dead, why, record, std::move(answer), answered);
  }
  const Duration pause =
      delay ? *delay : failure_delay(state_.spec, task.counters.failures, entropy_);
  requeue(slot, reason, pause, false, record, std::move(answer), answered);
}

void Turn::crash(Slot slot, const Death& death, AnswerRef answer, bool answered) {
  Task& task = task_at(slot);
  if (kSeededFault != SeededFault::crashes_not_counted) ++task.counters.crashes;
  ++state_.counts.crashed_attempts;
  AttemptRecord record = record_of(task, AttemptOutcome::crashed, death);
  if (state_.spec.on_lost == OnLost::dead || task.counters.crashes >= state_.spec.max_crashes) {
    return finish(slot, TaskState::dead, Reason::crashed, record, std::move(answer), answered);
  }
  const bool oom = death.cause == DeathCause::oom;
  const Duration pause = crash_delay(state_.spec, task.counters.crashes, oom, entropy_);
  requeue(slot, Reason::crashed, pause, false, record, std::move(answer), answered);
}

// Not the task's fault: it goes back to where it stood.
void Turn::interrupt(Slot slot, const Death& death) {
  Task& task = task_at(slot);
  ++task.counters.recoveries;
  AttemptRecord record = record_of(task, AttemptOutcome::interrupted, death);
  if (state_.spec.on_lost == OnLost::dead) {
    return finish(slot, TaskState::dead, Reason::interrupted, record, nullptr, false);
  }
  requeue(slot, Reason::interrupted, Duration(), true, record, nullptr, false);
}

// The worker of a running task has died without an answer.
void Turn::lose(Slot slot, const Death& death, bool innocent) {
  const Task& task = task_at(slot);
  const auto& running = std::get<Running>(task.place);
  if (task.cancel) {
    AttemptRecord record = record_of(task, AttemptOutcome::cancelled, death);
    return finish(slot, TaskState::cancelled, *task.cancel, record, nullptr, false);
  }
  if (running.stage == Stage::timed_out || running.timed_out) {
    return fail(slot, Reason::timeout, {}, true, nullptr, false, death);
  }
  bool ours = innocent || death.cause == DeathCause::stopped || death.cause == DeathCause::vanished;
  if (kSeededFault == SeededFault::stop_counts_as_crash) {
    ours = innocent || death.cause == DeathCause::vanished;
  }
  if (ours) return interrupt(slot, death);
  crash(slot, death, nullptr, false);
}

}  // namespace mtd::task
