// TwoStores: tasks on disk, and in memory those that need not outlive the broker
// (Durability::memory), as one TaskStore. A task stays where it was put.
#pragma once

#include <memory>

#include "daemon/broker/store/memory_store.h"

namespace mtd::broker {

class TwoStores final : public task::TaskStore {
 public:
  TwoStores(std::unique_ptr<task::TaskStore> disk, std::uint64_t memory_limit)
      : disk_(std::move(disk)), memory_(memory_limit) {}

  [[nodiscard]] Result<task::StoreContents> load() override { return disk_->load(); }
  [[nodiscard]] std::vector<task::StoreDone> commit(std::vector<task::StoreOp> batch) override;
  [[nodiscard]] task::StoreReply answer(const task::StoreQuestion& question) override;
  [[nodiscard]] task::StoreHealth health() const override { return disk_->health(); }
  void tidy() override { disk_->tidy(); }

 private:
  [[nodiscard]] bool is_of_memory(const task::StoreOp& op) const;
  [[nodiscard]] task::StoreReply find(const task::FindTask& question);
  [[nodiscard]] task::StoreReply list(const task::ListTasks& question);

  std::unique_ptr<task::TaskStore> disk_;
  task::MemoryStore memory_;
};

}  // namespace mtd::broker
