// QueueRunner: the shell of one pool's queue. Turns workers' frames, clients' requests and the
// store's completions into events of the model, and performs its actions. It decides nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/answer_assembly.h"
#include "daemon/broker/model/queue.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/queue_workers.h"
#include "daemon/broker/store/store.h"
#include "daemon/broker/worker_frames.h"
#include "daemon/broker/worker_socket.h"
#include "daemon/sys/broker_link.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/task_board.h"

namespace mtd::broker {

class QueueRunner;

// Who hears what of a queue.
class QueueHost {
 public:
  virtual ~QueueHost() = default;
  virtual void submit(QueueRunner& queue, task::StoreOp&& op) = 0;
  using Replied = std::function<void(task::StoreReply)>;
  virtual void ask(task::StoreQuestion question, Replied replied) = 0;
  virtual void answer(const task::PutAccepted& accepted) = 0;
  virtual void answer(const task::Refused& refused, const std::string& pool) = 0;
  virtual void answer(const task::Revived& revived) = 0;
  virtual void answer(const task::CancelAnswered& answered) = 0;
  virtual void settled(const task::Settled& settled) = 0;
  virtual void progress(task::TaskId id, const std::string& members) = 0;
  virtual void drained(const std::string& pool) = 0;
  [[nodiscard]] virtual task::Now now() = 0;
  [[nodiscard]] virtual std::uint64_t entropy() = 0;
  // Its numbers and its next deadline are others now.
  virtual void changed(QueueRunner& queue) = 0;
};

struct QueueSettings {
  task::QueueSpec spec;
  std::uint32_t id = 0;     // the supervisor's number of the pool
  std::uint64_t token = 0;  // the broker's own, on operations of the store
  std::string mode;
  std::uint64_t max_body = 0, max_result = 0;
  bool reports_load = false;  // the supervisor is told who works
};

class QueueRunner {
 public:
  struct Places {  // where things are; they outlive the queue
    sys::EventLoop& loop;
    sys::BrokerLink& link;
    sys::TaskBoard& board;
    std::vector<char>& scratch;
    PartSpool& parts;
  };
  QueueRunner(QueueHost& host, Places places, QueueSettings settings, task::Recovered recovered);

  [[nodiscard]] const task::Queue& queue() const { return queue_; }
  [[nodiscard]] const std::string& pool() const { return queue_.spec().pool; }
  [[nodiscard]] const QueueSettings& settings() const { return settings_; }
  void apply(task::Event&& event);
  // What a person asks of the queue itself, to pause or to close it: another broker knows it at
  // once, before the person is answered.
  void operate(task::Event&& event);
  void reconfigure(QueueSettings settings);
  // Its place on the board is for others.
  void leave_board();
  // It has a place, if there is one.
  void enter_board();
  // A person has paused or closed it in the life of an earlier broker.
  void recall();

  // ---- the supervisor's facts ----
  void attach(const Attach& attach, UniqueFd socket);
  void drain(const Drain& drain);
  void end(const Ended& ended);
  // A new life of the supervisor: it tells everything again.
  void begin_sync() { workers_.begin_sync(); }
  void end_sync();
  [[nodiscard]] bool has_workers() const { return !workers_.empty(); }
  // At the end of a turn: workers get what they are sent, the board says how the queue is, and the
  // supervisor is told who works, where it wants to know.
  void show();
  [[nodiscard]] std::uint64_t busy_workers() const { return workers_.busy(); }

 private:
  void step(task::Event&& event);
  // Frames of a worker.
  Result<std::optional<AnswerOf>> on_frame(const task::WorkerKey& key, std::string_view line,
                                           std::optional<std::string_view> body);
  void on_ready(QueueWorker& worker, const ReadyFrame& frame);
  Result<AnswerOf> on_answer(const task::WorkerKey& key, const AnswerFrame& frame,
                             std::optional<std::string_view> body);
  Result<void> on_part(const task::WorkerKey& key, const PartFrame& frame,
                       std::optional<std::string_view> body);
  [[nodiscard]] AnswerAssembly::Rules answer_rules() const;
  void on_fault(const task::WorkerKey& key, const Error& why);
  void on_closed(const task::WorkerKey& key);
  void lose(const task::WorkerKey& key, const task::Death& death);

  // Actions of the model.
  void perform(task::Submit& action);
  void perform(const task::SendTask& action);
  void perform(const task::SendCancel& action);
  void perform(const task::SendDrain& action);
  void perform(const task::KillWorker& action);
  void perform(const task::WorkerLoad& action);
  void perform(const task::WorkerSpent& action);
  void perform(const task::WorkerDrained& action);
  void perform(const task::AnswerSettled& action);
  void perform(const task::PutAccepted& action) { host_.answer(action); }
  void perform(const task::Refused& action) { host_.answer(action, pool()); }
  void perform(const task::Revived& action) { host_.answer(action); }
  void perform(const task::CancelAnswered& action) { host_.answer(action); }
  void perform(const task::Settled& action) { host_.settled(action); }
  void perform(const task::GroupSettled&) {}
  void perform(const task::QueueDrained&) { host_.drained(pool()); }
  void send_task(const task::SendTask& action, const task::TaskBody& body);

  QueueHost& host_;
  Places places_;
  QueueSettings settings_;
  task::Queue queue_;
  sys::BoardQueue* board_ = nullptr;
  QueueWorkers workers_;
  AnswerAssembly answers_;
  std::deque<task::Event> pending_;
  std::vector<task::Action> actions_;  // of the step that is being made
  task::BodyRef body_;                 // of the claim whose completion is being applied
  bool applying_ = false, synced_ = false;
};

}  // namespace mtd::broker
