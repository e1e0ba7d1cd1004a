#include "daemon/broker/queue_workers.h"

#include <utility>

namespace mtd::broker {

QueueWorker* QueueWorkers::find(const task::WorkerKey& key) {
  const auto found = workers_.find(key);
  return found == workers_.end() ? nullptr : &found->second;
}

QueueWorker& QueueWorkers::add(const task::WorkerKey& key) {
  QueueWorker& worker = workers_[key];
  worker.key = key;
  worker.told = true;
  worker.board = board_.worker(ref_of(key));
  return worker;
}

void QueueWorkers::remove(const task::WorkerKey& key) {
  board_.clear(ref_of(key));
  if (QueueWorker* worker = find(key)) set_busy(*worker, false);
  workers_.erase(key);
}

// ---- what goes to workers ----

void QueueWorkers::send(QueueWorker& worker, std::string frame) {
  worker.socket->send(std::move(frame));
  flush_soon(worker);
}

void QueueWorkers::settle(QueueWorker& worker, const AnswerOf& answer, bool taken) {
  if (worker.board != nullptr && taken) ++worker.board->answered;
  worker.socket->settle(answer);
  flush_soon(worker);
}

void QueueWorkers::flush_soon(QueueWorker& worker) {
  if (!std::exchange(worker.unflushed, true)) unflushed_.push_back(worker.key);
}

void QueueWorkers::flush() {
  for (const task::WorkerKey& key : unflushed_) {
    QueueWorker* worker = find(key);
    if (worker == nullptr) continue;
    worker->unflushed = false;
    worker->socket->flush();
  }
  unflushed_.clear();
}

// ---- what the supervisor and the board are told ----

void QueueWorkers::is_ready(QueueWorker& worker) {
  worker.ready = true;
  link_.send(Ready{{}, ref_of(worker.key)});
  note_load(worker);
}

void QueueWorkers::set_busy(QueueWorker& worker, bool busy) {
  if (std::exchange(worker.busy, busy) == busy) return;
  busy ? ++busy_ : --busy_;
}

void QueueWorkers::set_running(QueueWorker& worker, std::uint32_t running) {
  set_busy(worker, running > 0);
  if (worker.board != nullptr) {
    worker.board->running = running;
    if (running == 0) worker.board->current = 0;
  }
  note_load(worker);
}

void QueueWorkers::is_spent(const task::WorkerKey& key) {
  if (QueueWorker* worker = find(key)) worker->spent = true;
  link_.send(Spent{{}, ref_of(key)});
}

void QueueWorkers::is_drained(const task::WorkerKey& key) {
  if (QueueWorker* worker = find(key)) worker->drained = true;
  link_.send(Drained{{}, ref_of(key)});
}

void QueueWorkers::condemn(const task::WorkerKey& key, KillCause cause) {
  QueueWorker* worker = find(key);
  if (worker == nullptr || worker->condemned) return;
  worker->condemned = cause;
  link_.send(Condemned{{}, ref_of(key), cause, 0});
}

void QueueWorkers::report_loads(bool wanted) {
  told_backlog_.reset();
  if (std::exchange(reports_load_, wanted) || !wanted) return;
  for (auto& entry : workers_) {
    entry.second.told_busy.reset();
    note_load(entry.second);
  }
}

void QueueWorkers::note_load(const QueueWorker& worker) {
  if (reports_load_ && worker.ready) loads_.insert(worker.key);
}

void QueueWorkers::tell_loads() {
  for (const task::WorkerKey& key : std::exchange(loads_, {})) {
    QueueWorker* worker = find(key);
    if (worker == nullptr || worker->told_busy == worker->busy) continue;
    worker->told_busy = worker->busy;
    link_.send(Load{{}, ref_of(key), worker->busy ? 1U : 0U, 0});
  }
}

void QueueWorkers::tell_backlog(bool tasks_wait) {
  if (!reports_load_) return;
  const bool waits = tasks_wait && workers_.empty();
  if (told_backlog_ == waits) return;
  told_backlog_ = waits;
  link_.send(Backlog{{}, pool_, waits ? 1U : 0U});
}

void QueueWorkers::begin_sync() {
  for (auto& entry : workers_)
    entry.second.told = false;
  told_backlog_.reset();
}

void QueueWorkers::attached_again(QueueWorker& worker) {
  worker.told = true;
  const WorkerRef ref = ref_of(worker.key);
  if (worker.ready) link_.send(Ready{{}, ref});
  if (worker.spent) link_.send(Spent{{}, ref});
  if (worker.drained) link_.send(Drained{{}, ref});
  if (worker.condemned) link_.send(Condemned{{}, ref, *worker.condemned, 0});
  worker.told_busy.reset();
  note_load(worker);
}

std::vector<task::WorkerKey> QueueWorkers::untold() const {
  std::vector<task::WorkerKey> keys;
  for (const auto& [key, worker] : workers_) {
    if (!worker.told) keys.push_back(key);
  }
  return keys;
}

}  // namespace mtd::broker
