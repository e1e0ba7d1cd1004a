// Puts: what may come in, what waits for room, what is refused.
#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {
namespace {

std::uint64_t bytes_of(const PutTask& task) {
  return (task.body ? task.body->bytes() : 0) + task.group.size() + task.unique.size();
}

std::uint64_t bytes_of(const Put& put) {
  std::uint64_t sum = 0;
  for (const PutTask& task : put.tasks)
    sum += bytes_of(task);
  return sum;
}

}  // namespace

void Turn::apply(Put&& put) {
  const QueueSpec& spec = state_.spec;
  put.durability = std::max(put.durability, spec.durability);  // the weaker of the two
  const std::uint64_t bytes = bytes_of(put);
  const std::size_t count = put.tasks.size();
  if (state_.failed) return refuse(put.ticket, Refusal::store_failed, count);
  if (state_.closed) return refuse(put.ticket, Refusal::closed, count);
  if (count > std::min<std::uint64_t>(kMaxTasksInPut, spec.max_queue) ||
      bytes > spec.max_queue_bytes) {
    return refuse(put.ticket, Refusal::too_large, count);
  }
  if (state_.side_of(put.durability).full) return refuse(put.ticket, Refusal::store_full, count);
  if (state_.blocked.empty() && state_.is_room(count, bytes)) return admit(put);
  const Duration patience = put.block.value_or(
      spec.on_full == OnFull::refuse ? Duration()
                                     : spec.queue_timeout.value_or(Duration::infinite()));
  if (patience.is_zero()) return refuse(put.ticket, Refusal::queue_full, count);
  block(put, bytes, patience);
}

void Turn::block(Put& put, std::uint64_t bytes, Duration patience) {
  if (state_.blocked.size() >= kMaxBlockedPuts) {
    return refuse(put.ticket, Refusal::too_many_waiting, put.tasks.size());
  }
  BlockedPut blocked;
  blocked.put = std::move(put);
  blocked.bytes = bytes;
  blocked.deadline = now_.instant + patience;
  const std::uint64_t number = state_.next_blocked++;
  if (!blocked.deadline.is_never()) state_.blocked_deadlines.insert({blocked.deadline, number});
  state_.blocked.emplace(number, std::move(blocked));
}

TaskFacts Turn::facts_of(const PutTask& wanted, Durability durability) {
  TaskFacts facts;
  facts.id = wanted.id;
  facts.priority = wanted.priority;
  facts.order = state_.next_order++;
  facts.max_attempts = wanted.max_attempts;
  facts.timeout = wanted.timeout;
  facts.due_by_wall = wanted.at.has_value();
  facts.due = wanted.at.value_or(now_.wall + wanted.delay);
  facts.state = facts.due > now_.wall ? TaskState::scheduled : TaskState::waiting;
  if (wanted.expires) facts.expires = now_.wall + *wanted.expires;
  facts.created = now_.wall;
  facts.durability = durability;
  facts.bytes = bytes_of(wanted);
  facts.group = wanted.group;
  facts.unique = wanted.unique;
  return facts;
}

void Turn::admit(Put& put) {
  PutOp op;
  op.ticket = put.ticket;
  op.pool = state_.spec.pool;
  op.tasks.reserve(put.tasks.size());
  for (PutTask& wanted : put.tasks) {
    NewTask& task = op.tasks.emplace_back();
    task.facts = facts_of(wanted, put.durability);
    task.body = std::move(wanted.body);
    (void)make(task.facts, Entering{});
  }
  if (kSeededFault == SeededFault::accepted_before_commit) {
    PutAccepted early{put.ticket, {}};
    for (const NewTask& task : op.tasks)
      early.tasks.push_back({task.facts.id, Existed::no});
    emit(std::move(early));
  }
  submit(put.durability, std::move(op));
}

void Turn::admit_blocked() {
  while (!state_.blocked.empty()) {
    const auto first = state_.blocked.begin();
    BlockedPut& waits = first->second;
    if (!state_.is_room(waits.put.tasks.size(), waits.bytes)) return;
    if (state_.side_of(waits.put.durability).full) return;
    BlockedPut taken = std::move(waits);
    state_.blocked_deadlines.erase({taken.deadline, first->first});
    state_.blocked.erase(first);
    admit(taken.put);
  }
}

void Turn::refuse(Ticket ticket, Refusal why, std::size_t tasks) {
  state_.counts.refused_puts += tasks;
  emit(Refused{ticket, why});
}

void Turn::refuse_blocked(Refusal why) {
  for (const auto& [number, waits] : state_.blocked)
    refuse(waits.put.ticket, why, waits.put.tasks.size());
  state_.blocked.clear();
  state_.blocked_deadlines.clear();
}

void Turn::expire_blocked() {
  while (!state_.blocked_deadlines.empty() &&
         state_.blocked_deadlines.begin()->first <= now_.instant) {
    const std::uint64_t number = state_.blocked_deadlines.begin()->second;
    state_.blocked_deadlines.erase(state_.blocked_deadlines.begin());
    const auto waits = state_.blocked.find(number);
    refuse(waits->second.put.ticket, Refusal::queue_full, waits->second.put.tasks.size());
    state_.blocked.erase(waits);
  }
}

void Turn::apply(Forget&& forget) {
  for (auto at = state_.blocked.begin(); at != state_.blocked.end(); ++at) {
    if (at->second.put.ticket != forget.ticket) continue;
    state_.blocked_deadlines.erase({at->second.deadline, at->first});
    state_.blocked.erase(at);
    return;
  }
}

void Turn::apply(Revive&& revive) {
  if (state_.failed) return refuse(revive.ticket, Refusal::store_failed, 0);
  if (state_.closed) return refuse(revive.ticket, Refusal::closed, 0);
  if (state_.side_of(state_.spec.durability).full)
    return refuse(revive.ticket, Refusal::store_full, 0);
  if (!state_.is_room(1, 0)) return refuse(revive.ticket, Refusal::queue_full, 0);
  ReviveOp op;
  op.ticket = revive.ticket;
  op.id = revive.id;
  op.pool = state_.spec.pool;
  op.order = state_.next_order++;
  submit(state_.spec.durability, std::move(op));
}

void Turn::apply(Pause&&) {
  state_.paused = true;
}

void Turn::apply(Resume&&) {
  state_.paused = false;
  state_.closed = false;
}

void Turn::apply(Close&&) {
  state_.closed = true;
  refuse_blocked(Refusal::closed);
}

void Turn::apply(Reconfigure&& reconfigure) {
  state_.spec = std::move(reconfigure.spec);
  for (StoreSide& side : state_.sides)
    plan_collect(side);
}

}  // namespace mtd::task
