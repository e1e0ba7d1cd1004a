// TaskRequests: what a person asks of tasks that are there, to cancel or to revive them, until the
// queue has answered. Gives out the tickets by which a queue names what it answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "daemon/broker/queue_runner.h"
#include "daemon/sys/event_loop.h"

namespace mtd::broker {

class TaskRequests {
 public:
  explicit TaskRequests(sys::EventLoop& loop) : loop_(loop) {}

  [[nodiscard]] task::Ticket new_ticket() { return {next_ticket_++}; }
  using CancelDone = std::function<void(const task::CancelAnswered&)>;
  // Very many are cancelled piece by piece: others take their turns in between, in the loop and at
  // the store. `done` hears the sum.
  void cancel(QueueRunner& queue, task::Cancel cancel, CancelDone done);
  using ReviveDone = std::function<void(bool revived)>;
  void revive(QueueRunner& queue, task::TaskId id, ReviveDone done);

  // ---- what queues answer ----
  void answer(const task::CancelAnswered& answered);
  void answer(const task::Revived& revived);
  // False: it was none of these.
  [[nodiscard]] bool answer(const task::Refused& refused);

 private:
  struct Pieces;
  void cancel_more(const std::shared_ptr<Pieces>& job);

  sys::EventLoop& loop_;
  std::uint64_t next_ticket_ = 1;
  std::unordered_map<std::uint64_t, CancelDone> cancels_;  // by ticket
  std::unordered_map<std::uint64_t, ReviveDone> revives_;  // by ticket
};

}  // namespace mtd::broker
