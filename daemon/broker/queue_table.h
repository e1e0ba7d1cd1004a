// QueueTable: the queues by name and number, and which of them are pools of the configuration. A
// queue of a pool that has left it stays, closed, because its tasks do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/broker/queue_runner.h"

namespace mtd::broker {

class QueueTable {
 public:
  using Queues = std::map<std::string, std::unique_ptr<QueueRunner>, std::less<>>;

  [[nodiscard]] const Queues& all() const { return queues_; }
  // Of pools in the configuration.
  [[nodiscard]] QueueRunner* find(std::string_view pool) const;
  [[nodiscard]] bool is_present(const QueueRunner& queue) const {
    return absent_.count(queue.pool()) == 0;
  }
  // By the supervisor's number, by the token on its operations, by a task that it has; null: none.
  [[nodiscard]] QueueRunner* by_id(std::uint32_t id) const;
  [[nodiscard]] QueueRunner* by_token(std::uint64_t token) const;
  [[nodiscard]] QueueRunner* holder_of(task::TaskId id) const;
  // Of a task, of the largest kind that some queue takes.
  [[nodiscard]] std::size_t max_body() const { return max_body_; }

  // ---- what the supervisor tells ----
  void begin_sync();
  void end_sync();
  // A pool of the configuration. Null: it is new; make its queue with next_token() and add() it.
  [[nodiscard]] QueueRunner* told(const QueueSettings& settings);
  [[nodiscard]] std::uint64_t next_token() const { return by_token_.size() + 1; }
  QueueRunner& add(std::unique_ptr<QueueRunner> queue);
  void gone(std::uint32_t id);

  // Pools of the configuration stand on the board, no others; whoever else does is gone.
  void sort_out(sys::TaskBoard& board);

 private:
  void leave(QueueRunner& queue);
  void find_max_body();

  Queues queues_;
  std::set<std::string, std::less<>> absent_;  // queues of pools that left the configuration
  std::set<std::string, std::less<>> told_;    // in this sync
  std::vector<QueueRunner*> by_token_;         // token − 1
  std::size_t max_body_ = 8 << 20;
};

}  // namespace mtd::broker
