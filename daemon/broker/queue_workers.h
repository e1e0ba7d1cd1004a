// QueueWorkers: the workers of one queue. What each has been sent goes out together, by flush();
// the supervisor is told what it has to know of them, and again when it is a new one; the board
// shows what they do.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/model/values.h"
#include "daemon/broker/worker_socket.h"
#include "daemon/sys/broker_link.h"
#include "daemon/sys/task_board.h"

namespace mtd::broker {

struct QueueWorker {
  task::WorkerKey key;
  std::unique_ptr<WorkerSocket> socket;
  sys::BoardWorker* board = nullptr;  // null: the board is full
  std::uint32_t capabilities = 0;
  bool busy = false;  // has a task
  bool unflushed = false;
  bool ready = false, drained = false, spent = false;
  bool told = false;              // by the supervisor, in this sync
  std::optional<bool> told_busy;  // what the supervisor knows; of pools that ask for it
  std::optional<KillCause> condemned;
};

class QueueWorkers {
 public:
  // pool: the supervisor's number of it.
  QueueWorkers(sys::BrokerLink& link, sys::TaskBoard& board, std::uint32_t pool)
      : link_(link), board_(board), pool_(pool) {}
  void set_pool(std::uint32_t pool) { pool_ = pool; }

  [[nodiscard]] WorkerRef ref_of(const task::WorkerKey& key) const {
    return {pool_, key.slot, key.incarnation};
  }
  // Null: there is none. Stays where it is until it is removed.
  [[nodiscard]] QueueWorker* find(const task::WorkerKey& key);
  QueueWorker& add(const task::WorkerKey& key);
  void remove(const task::WorkerKey& key);
  [[nodiscard]] bool empty() const { return workers_.empty(); }
  [[nodiscard]] std::uint64_t busy() const { return busy_; }

  // ---- what goes to workers ----
  void send(QueueWorker& worker, std::string frame);
  void settle(QueueWorker& worker, const AnswerOf& answer, bool taken);
  void flush();

  // ---- what the supervisor and the board are told ----
  void is_ready(QueueWorker& worker);
  void set_running(QueueWorker& worker, std::uint32_t running);
  void is_spent(const task::WorkerKey& key);
  void is_drained(const task::WorkerKey& key);
  void condemn(const task::WorkerKey& key, KillCause cause);
  // Whether it is told who works.
  void report_loads(bool wanted);
  // At the end of a turn: a worker that goes from one task to the next is not told as idle.
  void tell_loads();
  // A pool that may have no worker at all gets its first one for the tasks that wait.
  void tell_backlog(bool tasks_wait);
  // The supervisor is a new one: it tells everything again, and is told.
  void begin_sync();
  void attached_again(QueueWorker& worker);
  [[nodiscard]] std::vector<task::WorkerKey> untold() const;

 private:
  void flush_soon(QueueWorker& worker);
  void note_load(const QueueWorker& worker);
  void set_busy(QueueWorker& worker, bool busy);

  sys::BrokerLink& link_;
  sys::TaskBoard& board_;
  std::uint32_t pool_;
  std::map<task::WorkerKey, QueueWorker> workers_;
  std::vector<task::WorkerKey> unflushed_;
  std::uint64_t busy_ = 0;
  bool reports_load_ = false;
  std::set<task::WorkerKey> loads_;   // to be told at the end of the turn
  std::optional<bool> told_backlog_;  // what the supervisor knows; of pools that ask for it
};

}  // namespace mtd::broker
