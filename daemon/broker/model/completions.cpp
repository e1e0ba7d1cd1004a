// What the store has done. Only here does a task become accepted, given out, or final.
#include "daemon/broker/model/turn.h"

namespace mtd::task {

void Turn::apply(StoreDone&& done) {
  std::visit([&](auto& op) { complete(op, done); }, done.op.what);
}

// Whether the operation is on record. What found no room is tried again when there is some.
bool Turn::took(StoreDone& done) {
  if (done.status == StoreStatus::committed) return true;
  if (done.status == StoreStatus::full) {
    const Durability durability = done.op.durability;
    if (kSeededFault != SeededFault::stalled_answer_dropped) {
      state_.side_of(durability).stalled.push_back(std::move(done.op));
    }
    store_stands(durability);
  }
  if (done.status == StoreStatus::failed) store_has_failed();
  return false;
}

void Turn::store_is_full(Durability durability) {
  StoreSide& side = state_.side_of(durability);
  if (side.full) return;
  side.full = true;
  side.probe_at = now_.instant + kProbeInterval;
}

// No task is begun before that has been tried once more.
void Turn::store_stands(Durability durability) {
  state_.side_of(durability).stands = true;
  store_is_full(durability);
}

void Turn::store_has_failed() {
  if (state_.failed) return;
  state_.failed = true;
  refuse_blocked(Refusal::store_failed);
  refuse_cancels();
}

void Turn::complete(PutOp& op, StoreDone& done) {
  const bool committed = done.status == StoreStatus::committed;
  for (std::size_t i = 0; i < op.tasks.size(); ++i) {
    const TaskFacts& facts = op.tasks[i].facts;
    const Slot slot = find(facts.id);
    if (slot == kNone) continue;
    if (!committed || done.puts.at(i).existed != Existed::no) {
      answer_waiters(facts.id, &CancelAnswered::unknown);
      drop(slot);
      continue;
    }
    ++state_.counts.accepted;
    if (!finish_if_cancelled(slot)) {
      place_queued(slot, facts.state, facts.due, facts.due_by_wall);
    }
  }
  if (committed) {
    if (kSeededFault != SeededFault::accepted_before_commit) {
      emit(PutAccepted{op.ticket, std::move(done.puts)});
    }
    return;
  }
  const bool full = done.status == StoreStatus::full;
  refuse(op.ticket, full ? Refusal::store_full : Refusal::store_failed, op.tasks.size());
  if (full) return store_is_full(done.op.durability);
  store_has_failed();
}

void Turn::complete(FinishOp& op, StoreDone& done) {
  if (done.status != StoreStatus::missing && !took(done)) return;
  const Slot slot = find(op.id);
  if (slot == kNone) return;
  const bool committed = done.status == StoreStatus::committed;
  const auto* ending = std::get_if<Ending>(&task_at(slot).place);
  if (ending != nullptr && ending->answered && op.record) {
    emit(AnswerSettled{op.record->worker, op.id, op.record->attempt, committed});
  }
  if (committed) {
    const std::uint32_t group = task_at(slot).group;
    Settled settled;
    settled.id = op.id;
    settled.state = op.state;
    settled.reason = op.reason;
    settled.attempts = op.counters.attempts;
    if (op.record) settled.death = op.record->death;
    settled.answer = std::move(op.answer);
    if (group != kNone) settled.group = state_.groups[group].name;
    emit(std::move(settled));
    note_final(done.op.durability, op.state, op.finished);
  }
  answer_waiters(op.id, op.state == TaskState::cancelled ? &CancelAnswered::cancelled
                                                         : &CancelAnswered::unknown);
  drop(slot);
}

void Turn::complete(RequeueOp& op, StoreDone& done) {
  if (done.status != StoreStatus::missing && !took(done)) return;
  const Slot slot = find(op.id);
  if (slot == kNone) return;
  const auto* back = std::get_if<Requeueing>(&task_at(slot).place);
  if (back == nullptr) return;
  const Instant due = back->due;
  if (back->answered) emit(AnswerSettled{op.record.worker, op.id, op.record.attempt, true});
  if (done.status == StoreStatus::missing) return drop(slot);
  if (finish_if_cancelled(slot)) return;
  if (op.state == TaskState::scheduled) {
    move(slot, Scheduled{due, std::nullopt});
  } else {
    move(slot, Waiting{});
  }
}

void Turn::complete(PromoteOp&, StoreDone& done) {
  (void)took(done);
}

void Turn::complete(ReviveOp& op, StoreDone& done) {
  switch (done.status) {
    case StoreStatus::committed:
      if (!done.facts) return;
      ++state_.counts.accepted;
      (void)make(*done.facts, Waiting{});
      return emit(Revived{op.ticket, op.id});
    case StoreStatus::duplicate:
      return refuse(op.ticket, Refusal::unique_taken, 0);
    case StoreStatus::missing:
      return refuse(op.ticket, Refusal::no_such_task, 0);
    case StoreStatus::full:
      refuse(op.ticket, Refusal::store_full, 0);
      return store_is_full(done.op.durability);
    case StoreStatus::failed:
      refuse(op.ticket, Refusal::store_failed, 0);
      return store_has_failed();
  }
}

void Turn::complete(CollectOp& op, StoreDone& done) {
  StoreSide& side = state_.side_of(done.op.durability);
  side.collecting = false;
  if (done.status == StoreStatus::failed) return store_has_failed();
  if (done.status == StoreStatus::committed) {
    side.oldest_done = done.oldest_done;
    side.oldest_dead = done.oldest_dead;
  }
  plan_collect(side);
  const bool more = done.status == StoreStatus::committed && done.removed >= op.limit;
  if (more) side.collect_at = now_.instant;
}

void Turn::complete(ProbeOp&, StoreDone& done) {
  StoreSide& side = state_.side_of(done.op.durability);
  side.probing = false;
  if (done.status == StoreStatus::failed) return store_has_failed();
  side.full = done.status != StoreStatus::committed;
  side.probe_at = side.full ? now_.instant + kProbeInterval : Instant::never();
  try_again(side);
}

void Turn::try_again(StoreSide& side) {
  if (kSeededFault == SeededFault::full_store_stands && side.full) return;
  side.stands = false;
  std::vector<StoreOp> stalled = std::exchange(side.stalled, {});
  for (StoreOp& op : stalled)
    emit(Submit{std::move(op)});
}

}  // namespace mtd::task
