// TwoStores: where the broker keeps tasks. On disk, by a thread of its own, because a disk makes
// wait; and in memory those that need not outlive the broker (Durability::memory), at once, because
// to hand them to a thread and back would take longer than they do. A task stays where it was put.
//
// Operations of one kind are done in their order, and questions see what was submitted before them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/broker/store/memory_store.h"
#include "daemon/broker/store/store_thread.h"

namespace mtd::broker {

class TwoStores {
 public:
  TwoStores(std::unique_ptr<task::StoreThread> disk, std::uint64_t memory_limit)
      : disk_(std::move(disk)), memory_(memory_limit) {}

  // Each is answered by one StoreDone: by the returned ones at once, by take() later.
  [[nodiscard]] std::vector<task::StoreDone> submit(std::vector<task::StoreOp> ops);
  // Answered by one StoreReplied of take(), or at once: then it is returned.
  [[nodiscard]] std::optional<task::StoreReply> ask(std::uint64_t token,
                                                    task::StoreQuestion question);

  // Readable while there is output.
  [[nodiscard]] int fd() const { return disk_->fd(); }
  [[nodiscard]] std::vector<task::StoreOutput> take();

 private:
  [[nodiscard]] bool is_of_memory(const task::StoreOp& op) const;
  void add_memory(const task::StoreQuestion& question, task::StoreReply& reply);

  std::unique_ptr<task::StoreThread> disk_;
  task::MemoryStore memory_;
  std::unordered_map<std::uint64_t, task::StoreQuestion> asked_;  // that memory answers as well
};

}  // namespace mtd::broker
