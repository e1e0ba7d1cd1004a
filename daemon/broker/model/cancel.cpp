// Cancelling: at once what nobody works on, by asking what runs, as soon as possible what is under
// way. Who asked is answered when all of it is on record.
#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {

void Turn::apply(Cancel&& request) {
  if (state_.failed) {
    if (request.ticket.value != 0) emit(Refused{request.ticket, Refusal::store_failed});
    return;
  }
  std::vector<Slot> slots;
  if (request.ticket.value != 0) {
    CancelCount& count = state_.cancels[request.ticket.value];
    count.answer.ticket = request.ticket;
    count.remaining = 1;  // this step
  }
  if (request.whole_pool) {
    for (const auto& [id, slot] : state_.by_id)
      slots.push_back(slot);
  } else if (const auto found = state_.group_by_name.find(request.group);
             found != state_.group_by_name.end()) {
    slots = state_.groups[found->second].members;
  }
  for (const TaskId id : request.ids) {
    const Slot slot = find(id);
    if (slot != kNone) slots.push_back(slot);
    if (slot == kNone && request.ticket.value != 0) {
      ++state_.cancels[request.ticket.value].answer.unknown;
    }
  }
  const auto by_age = [this](Slot a, Slot b) { return task_at(a).id < task_at(b).id; };
  std::sort(slots.begin(), slots.end(), by_age);
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  for (const Slot slot : slots)
    cancel(slot, request);
  if (request.ticket.value == 0) return;
  --state_.cancels[request.ticket.value].remaining;
  send_if_complete(request.ticket);
}

void Turn::cancel(Slot slot, const Cancel& request) {
  Task& task = task_at(slot);
  if (auto* running = std::get_if<Running>(&task.place)) {
    return cancel_running(slot, *running, request);
  }
  if (is_in<Ending>(task)) {
    const auto count = state_.cancels.find(request.ticket.value);
    if (count != state_.cancels.end()) ++count->second.answer.unknown;
    return;
  }
  if (kSeededFault == SeededFault::cancel_of_claim_lost) {
    if (is_in<Claiming>(task)) return;
  }
  await(slot, request.ticket);
  if (!task.cancel) task.cancel = request.reason;
  if (is_in<Scheduled>(task) || is_in<Waiting>(task)) (void)finish_if_cancelled(slot);
}

void Turn::cancel_running(Slot slot, Running& running, const Cancel& request) {
  Task& task = task_at(slot);
  running.cancel_now = running.cancel_now || request.now;
  if (running.cancel_pending) return await(slot, request.ticket);
  if (task.cancel) {  // on record already
    const auto count = state_.cancels.find(request.ticket.value);
    if (count != state_.cancels.end()) ++count->second.answer.asked;
    if (request.now) ask_to_stop(slot, true);
    return;
  }
  await(slot, request.ticket);
  task.cancel = request.reason;
  running.cancel_pending = true;
  CancelOp op;
  op.id = task.id;
  op.attempt = task.counters.attempts;
  op.reason = request.reason;
  submit(task.durability, op);
}

void Turn::complete(CancelOp& op, StoreDone& done) {
  if (!took(done)) return;
  answer_waiters(op.id, &CancelAnswered::asked);
  const Slot slot = find(op.id);
  if (slot == kNone) return;
  auto* running = std::get_if<Running>(&task_at(slot).place);
  if (running == nullptr || !running->cancel_pending) return;
  running->cancel_pending = false;
  if (running->unconfirmed) return;  // when its worker has shown itself
  if (running->stage == Stage::working || running->cancel_now) {
    ask_to_stop(slot, running->cancel_now);
  }
}

// The worker of a cancelled task: asked first, unless it is to be quick.
void Turn::ask_to_stop(Slot slot, bool now) {
  Task& task = task_at(slot);
  auto& running = std::get<Running>(task.place);
  if (running.stage == Stage::killed) return;
  const WorkerKey worker = running.worker;
  if (!now && running.stage == Stage::working) {
    running.stage = Stage::cancelled;
    running.deadline = now_.instant + state_.spec.grace;
    emit(SendCancel{worker, task.id, CancelCause::user, state_.spec.grace});
    return arm(slot);
  }
  running.timed_out = running.stage == Stage::timed_out;
  running.stage = Stage::killed;
  running.deadline = Instant::never();
  arm(slot);
  end_worker(worker, KillCause::cancelled);
}

bool Turn::finish_if_cancelled(Slot slot) {
  const Task& task = task_at(slot);
  if (!task.cancel) return false;
  finish(slot, TaskState::cancelled, *task.cancel, std::nullopt, nullptr, false);
  return true;
}

// The ticket's answer waits until this task's cancel is on record.
void Turn::await(Slot slot, Ticket ticket) {
  if (ticket.value == 0) return;
  ++state_.cancels[ticket.value].remaining;
  state_.cancel_waiters.emplace(task_at(slot).id.value, ticket);
}

void Turn::answer_waiters(TaskId id, std::uint32_t CancelAnswered::*how) {
  const auto [first, past] = state_.cancel_waiters.equal_range(id.value);
  std::vector<Ticket> tickets;
  for (auto at = first; at != past; ++at)
    tickets.push_back(at->second);
  state_.cancel_waiters.erase(first, past);
  for (const Ticket ticket : tickets) {
    const auto count = state_.cancels.find(ticket.value);
    if (count == state_.cancels.end()) continue;
    ++(count->second.answer.*how);
    --count->second.remaining;
    send_if_complete(ticket);
  }
}

void Turn::send_if_complete(Ticket ticket) {
  const auto count = state_.cancels.find(ticket.value);
  if (count == state_.cancels.end() || count->second.remaining != 0) return;
  emit(count->second.answer);
  state_.cancels.erase(count);
}

void Turn::refuse_cancels() {
  for (const auto& [ticket, count] : state_.cancels)
    emit(Refused{count.answer.ticket, Refusal::store_failed});
  state_.cancels.clear();
  state_.cancel_waiters.clear();
}

}  // namespace mtd::task
