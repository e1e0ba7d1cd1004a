// Giving out: which worker is given which task, and when it hears of it.
#include "daemon/broker/model/turn.h"

namespace mtd::task {

void Turn::dispatch() {
  if (state_.adopting || state_.paused || state_.failed) return;
  while (!state_.ready.empty() && !state_.free_workers.empty()) {
    const Slot slot = state_.ready.begin()->slot;
    if (state_.side_of(task_at(slot).durability).stands) return;
    const WorkerKey key = state_.free_workers.begin()->second;
    Worker& worker = state_.workers.at(key);
    unlist(key, worker);
    claim(slot, key, worker);
    list(key, worker);  // behind the others, if there is still room
  }
}

void Turn::claim(Slot slot, const WorkerKey& key, Worker& worker) {
  Task& task = task_at(slot);
  ++task.counters.attempts;
  worker.tasks.push_back(slot);
  ++worker.claims;
  ClaimOp op;
  op.id = task.id;
  op.attempt = task.counters.attempts;
  op.worker = key;
  op.started = now_.wall;
  op.only_one = state_.spec.on_lost == OnLost::dead;
  move(slot, Claiming{key});
  if (kSeededFault == SeededFault::sent_before_commit) {
    emit(SendTask{key, op.id, op.attempt, {}, false});
  }
  submit(task.durability, op);
}

// The claim is on record: the worker hears of it.
void Turn::send(Slot slot, const WorkerKey& key, Worker& worker) {
  Task& task = task_at(slot);
  Running running;
  running.worker = key;
  running.started = now_.wall;
  start_clock(task, running);
  move(slot, running);
  ++worker.given;
  if (kSeededFault != SeededFault::sent_before_commit) {
    const auto timeout = task.timeout ? task.timeout : state_.spec.timeout;
    emit(SendTask{key, task.id, task.counters.attempts, timeout, false});
  }
  if (worker.tasks.size() - worker.claims == 1) say_load(key, worker);
  if (worker.limit != 0 && worker.given >= worker.limit) become_spent(key, worker);
}

void Turn::start_clock(const Task& task, Running& running) const {
  const auto timeout = task.timeout ? task.timeout : state_.spec.timeout;
  if (!timeout) return;
  if (timeout->is_infinite()) return;
  const std::int64_t spent = now_.wall.since(running.started).count_ns();
  running.deadline = now_.instant + Duration::nanoseconds(timeout->count_ns() - spent);
}

// The claim is on record, but its worker will never hear of it.
void Turn::give_back(Slot slot, const WorkerKey& key) {
  const Task& task = task_at(slot);
  AttemptRecord record;
  record.attempt = task.counters.attempts;
  record.worker = key;
  record.started = record.ended = now_.wall;
  record.outcome = AttemptOutcome::given_back;
  take_from(key, slot);
  const bool keeps = kSeededFault != SeededFault::give_back_to_the_end;
  requeue(slot, Reason::none, Duration(), keeps, record, nullptr, false);
}

void Turn::complete(ClaimOp& op, StoreDone& done) {
  const Slot slot = find(op.id);
  if (slot == kNone || !is_in<Claiming>(task_at(slot))) return;
  Worker* worker = worker_of(op.worker);
  if (worker != nullptr) --worker->claims;
  if (done.status == StoreStatus::committed) {
    if (kSeededFault == SeededFault::lost_claim_forgotten) {
      if (worker == nullptr) return;
    }
    if (task_at(slot).cancel) {
      take_from(op.worker, slot);
      (void)finish_if_cancelled(slot);
    } else if (worker == nullptr || worker->draining || worker->killed ||
               !worker->closed.is_never()) {
      give_back(slot, op.worker);
    } else {
      send(slot, op.worker, *worker);
    }
    return;
  }
  take_from(op.worker, slot);
  if (done.status == StoreStatus::missing) return drop(slot);  // somebody has removed it
  --task_at(slot).counters.attempts;
  move(slot, Waiting{});
  if (done.status == StoreStatus::full) store_stands(done.op.durability);
  if (done.status == StoreStatus::failed) return store_has_failed();
  (void)finish_if_cancelled(slot);
}

}  // namespace mtd::task
