#include "daemon/broker/queue_table.h"

#include <algorithm>
#include <utility>

namespace mtd::broker {
namespace {

constexpr std::size_t kLeastBody = 1024;

}  // namespace

QueueRunner* QueueTable::find(std::string_view pool) const {
  const auto found = queues_.find(pool);
  return found == queues_.end() || !is_present(*found->second) ? nullptr : found->second.get();
}

QueueRunner* QueueTable::by_id(std::uint32_t id) const {
  for (const auto& entry : queues_) {
    if (entry.second->settings().id == id) return entry.second.get();
  }
  return nullptr;
}

QueueRunner* QueueTable::by_token(std::uint64_t token) const {
  return token > 0 && token <= by_token_.size() ? by_token_[token - 1] : nullptr;
}

QueueRunner* QueueTable::holder_of(task::TaskId id) const {
  for (const auto& entry : queues_) {
    if (entry.second->queue().find(id)) return entry.second.get();
  }
  return nullptr;
}

void QueueTable::begin_sync() {
  told_.clear();
  for (const auto& entry : queues_)
    entry.second->begin_sync();
}

void QueueTable::end_sync() {
  for (const auto& [name, queue] : queues_) {
    if (told_.count(name) == 0) leave(*queue);
    queue->end_sync();
  }
}

QueueRunner* QueueTable::told(const QueueSettings& settings) {
  const std::string& name = settings.spec.pool;
  told_.insert(name);
  const auto known = queues_.find(name);
  if (known == queues_.end()) return nullptr;
  QueueRunner& queue = *known->second;
  if (absent_.erase(name) != 0) queue.operate(task::Resume{});
  QueueSettings with_token = settings;
  with_token.token = queue.settings().token;
  queue.reconfigure(std::move(with_token));
  find_max_body();
  return &queue;
}

QueueRunner& QueueTable::add(std::unique_ptr<QueueRunner> queue) {
  QueueRunner& added = *queue;
  by_token_.push_back(&added);
  queues_.emplace(added.pool(), std::move(queue));
  find_max_body();
  return added;
}

void QueueTable::gone(std::uint32_t id) {
  if (QueueRunner* queue = by_id(id)) leave(*queue);
}

void QueueTable::sort_out(sys::TaskBoard& board) {
  std::set<std::uint32_t> present;
  for (const auto& [name, queue] : queues_) {
    if (is_present(*queue)) {
      present.insert(queue->settings().id);
    } else {
      queue->leave_board();
    }
  }
  board.keep_queues(present);
  for (const auto& [name, queue] : queues_) {
    if (is_present(*queue)) queue->enter_board();
  }
}

void QueueTable::leave(QueueRunner& queue) {
  if (absent_.insert(queue.pool()).second) queue.apply(task::Close{});
}

void QueueTable::find_max_body() {
  max_body_ = kLeastBody;
  for (const auto& entry : queues_)
    max_body_ = std::max<std::size_t>(max_body_, entry.second->settings().max_body);
}

}  // namespace mtd::broker
