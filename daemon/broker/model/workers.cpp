// The lives of workers, as far as their tasks are concerned.
#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {

Worker* Turn::worker_of(const WorkerKey& key) {
  const auto found = state_.workers.find(key);
  return found == state_.workers.end() ? nullptr : &found->second;
}

void Turn::list(const WorkerKey& key, Worker& worker) {
  bool room = worker.has_room();
  if (kSeededFault == SeededFault::credit_ignored) {
    room = room || (worker.ready && worker.tasks.size() == worker.credit && !worker.draining);
  }
  if (kSeededFault == SeededFault::limit_ignored) {
    room = room || (worker.ready && worker.tasks.empty() && worker.given == worker.limit);
  }
  if (kSeededFault == SeededFault::drain_gives_more) {
    room = room || (worker.draining && worker.ready && worker.tasks.empty());
  }
  if (!room || worker.turn != 0) return;
  worker.turn = state_.next_turn++;
  state_.free_workers.insert({worker.turn, key});
}

void Turn::unlist(const WorkerKey& key, Worker& worker) {
  if (worker.turn == 0) return;
  state_.free_workers.erase({worker.turn, key});
  worker.turn = 0;
}

void Turn::take_from(const WorkerKey& key, Slot slot) {
  Worker* worker = worker_of(key);
  if (worker == nullptr) return;
  const auto at = std::find(worker->tasks.begin(), worker->tasks.end(), slot);
  if (at == worker->tasks.end()) return;
  worker->tasks.erase(at);
  list(key, *worker);
  check_drained(key, *worker);
}

void Turn::say_load(const WorkerKey& key, const Worker& worker) {
  const auto running = static_cast<std::uint32_t>(worker.tasks.size() - worker.claims);
  emit(WorkerLoad{key, running, worker.answered});
}

void Turn::check_drained(const WorkerKey& key, Worker& worker) {
  if (!worker.draining || !worker.tasks.empty() || worker.drained_said) return;
  worker.drained_said = true;
  emit(WorkerDrained{key});
}

void Turn::become_spent(const WorkerKey& key, Worker& worker) {
  if (worker.spent) return;
  worker.spent = true;
  if (kSeededFault != SeededFault::limit_ignored) unlist(key, worker);
  emit(WorkerSpent{key});
}

void Turn::end_worker(const WorkerKey& key, KillCause cause) {
  Worker* worker = worker_of(key);
  if (worker == nullptr || worker->killed) return;
  worker->killed = true;
  unlist(key, *worker);
  emit(KillWorker{key, cause});
}

void Turn::apply(WorkerAttached&& fact) {
  const auto [at, is_new] = state_.workers.try_emplace(fact.worker);
  if (!is_new) return;
  Worker& worker = at->second;
  worker.limit = fact.task_limit;
  worker.given = fact.given;
  const auto left = state_.orphans.find(fact.worker);
  if (left != state_.orphans.end()) {
    worker.tasks = std::move(left->second);
    state_.orphans.erase(left);
    // Whether `given` counts them is not known: rather one too few in its life than one too many.
    worker.given += worker.tasks.size();
  }
  if (worker.limit != 0 && worker.given >= worker.limit) become_spent(fact.worker, worker);
}

void Turn::apply(WorkerReady&& fact) {
  Worker* worker = worker_of(fact.worker);
  if (worker == nullptr) return;
  worker->credit = fact.credit != 0 ? fact.credit : state_.spec.credit;
  worker->ready = true;
  confirm(fact.worker, *worker);
  if (worker->has_room()) {
    list(fact.worker, *worker);
  } else {
    unlist(fact.worker, *worker);
  }
}

// A former broker may not have sent what it had claimed.
void Turn::confirm(const WorkerKey& key, Worker& worker) {
  bool any = false;
  const std::vector<Slot> tasks = worker.tasks;
  for (const Slot slot : tasks) {
    Task& task = task_at(slot);
    auto* running = std::get_if<Running>(&task.place);
    if (running == nullptr || !running->unconfirmed) continue;
    any = true;
    running->unconfirmed = false;
    start_clock(task, *running);
    const auto timeout = task.timeout ? task.timeout : state_.spec.timeout;
    emit(SendTask{key, task.id, task.counters.attempts, timeout, true});
    arm(slot);
    if (task.cancel && !running->cancel_pending) ask_to_stop(slot, running->cancel_now);
  }
  if (any) say_load(key, worker);
}

void Turn::apply(WorkerDrains&& fact) {
  Worker* worker = worker_of(fact.worker);
  if (worker == nullptr || worker->draining) return;
  worker->draining = true;
  unlist(fact.worker, *worker);
  emit(SendDrain{fact.worker, fact.deadline});
  check_drained(fact.worker, *worker);
}

void Turn::apply(WorkerRecycles&& fact) {
  if (Worker* worker = worker_of(fact.worker)) become_spent(fact.worker, *worker);
}

void Turn::apply(WorkerMisbehaved&& fact) {
  Worker* worker = worker_of(fact.worker);
  if (worker == nullptr) return;
  worker->misbehaved = true;
  end_worker(fact.worker, KillCause::protocol);
}

void Turn::apply(WorkerClosed&& fact) {
  Worker* worker = worker_of(fact.worker);
  if (worker == nullptr || !worker->closed.is_never()) return;
  worker->closed = now_.instant + kCloseGrace;
  unlist(fact.worker, *worker);
  state_.closing.insert({worker->closed, fact.worker});
}

// Those that live on although their socket is closed. One that is to be stopped or replaced, and
// owes no answer, may take its time.
void Turn::end_closed() {
  if (kSeededFault == SeededFault::closed_worker_kept) state_.closing.clear();
  while (!state_.closing.empty() && state_.closing.begin()->first <= now_.instant) {
    const WorkerKey key = state_.closing.begin()->second;
    state_.closing.erase(state_.closing.begin());
    Worker* worker = worker_of(key);
    if (worker == nullptr || worker->killed) continue;
    if ((worker->draining || worker->spent) && worker->tasks.empty()) continue;
    worker->misbehaved = true;
    end_worker(key, KillCause::protocol);
  }
}

void Turn::apply(WorkerLost&& fact) {
  std::vector<Slot> tasks;
  bool innocent = false;  // those of its tasks that it was not killed for
  if (Worker* worker = worker_of(fact.worker)) {
    tasks = std::move(worker->tasks);
    innocent = worker->killed && !worker->misbehaved;
    if (worker->misbehaved) fact.death.cause = DeathCause::protocol;
    unlist(fact.worker, *worker);
    state_.closing.erase({worker->closed, fact.worker});
    state_.workers.erase(fact.worker);
  } else if (const auto left = state_.orphans.find(fact.worker); left != state_.orphans.end()) {
    tasks = std::move(left->second);
    state_.orphans.erase(left);
  }
  for (const Slot slot : tasks) {
    if (is_in<Running>(task_at(slot))) lose(slot, fact.death, innocent);
  }  // claims under way find their worker gone
}

void Turn::apply(AllAttached&&) {
  state_.adopting = false;
  if (kSeededFault == SeededFault::orphan_kept) return;
  const auto orphans = std::move(state_.orphans);
  state_.orphans.clear();
  for (const auto& [key, tasks] : orphans) {
    for (const Slot slot : tasks)
      lose(slot, Death{DeathCause::vanished, 0}, true);
  }
  finish_left_cancelled();
}

// The claim of a task that is to be cancelled may have gone with the power: then it waits again.
void Turn::finish_left_cancelled() {
  for (Slot slot = 0; slot < state_.tasks.size(); ++slot) {
    const Task& task = task_at(slot);
    if (is_in<Scheduled>(task) || is_in<Waiting>(task)) (void)finish_if_cancelled(slot);
  }
}

}  // namespace mtd::task
