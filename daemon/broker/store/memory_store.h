// MemoryStore: tasks that do not outlive the broker (Durability::memory). The plainest thing that
// keeps a TaskStore's promises, and so what the other stores are compared with.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "daemon/broker/store/store.h"

namespace mtd::task {

class MemoryStore final : public TaskStore {
 public:
  // limit: of bodies and answers together; beyond it puts are refused as `full`.
  explicit MemoryStore(std::uint64_t limit) : limit_(limit) {}

  [[nodiscard]] Result<StoreContents> load() override;
  [[nodiscard]] std::vector<StoreDone> write(std::vector<StoreOp> batch) override;
  [[nodiscard]] StoreReply answer(const StoreQuestion& question) override;
  [[nodiscard]] StoreHealth health() const override { return StoreHealth::good; }
  [[nodiscard]] bool has(TaskId id) const { return tasks_.count(id.value) != 0; }

 private:
  struct Entry {
    TaskRow row;  // without its names, which stand in the body
    BodyRef body;
    AnswerRef answer;
    std::vector<AttemptRecord> history;
  };
  // Final tasks of a pool by the time they ended.
  struct Ended {
    std::set<std::pair<WallTime, std::uint64_t>> done, dead;
  };

  StoreStatus apply(const PutOp& op, StoreDone& done);
  StoreStatus apply(const ClaimOp& op, StoreDone& done);
  StoreStatus apply(const FinishOp& op, StoreDone& done);
  StoreStatus apply(const RequeueOp& op, StoreDone& done);
  StoreStatus apply(const PromoteOp& op, StoreDone& done);
  StoreStatus apply(const CancelOp& op, StoreDone& done);
  StoreStatus apply(const ReviveOp& op, StoreDone& done);
  StoreStatus apply(const CollectOp& op, StoreDone& done);
  StoreStatus apply(const RemoveOp& op, StoreDone& done);
  StoreStatus apply(const ProbeOp& op, StoreDone& done);
  StoreReply reply(const FindTask& question);
  StoreReply reply(const ListTasks& question);
  StoreReply reply(const CountTasks& question);
  StoreReply reply(const RemoveTasks& question);
  StoreReply reply(const DescribeStore& question);

  [[nodiscard]] Entry* live(TaskId id, std::uint32_t attempt);
  [[nodiscard]] PutOutcome existing(const std::string& pool, const NewTask& task) const;
  [[nodiscard]] std::set<std::pair<WallTime, std::uint64_t>>& ended(const TaskRow& row);
  [[nodiscard]] FoundTask found(const Entry& entry, bool body, bool answer, bool history) const;
  void set_answer(Entry& entry, AnswerRef answer);
  void remember(Entry& entry, const AttemptRecord& record);
  bool remove(std::uint64_t id, std::vector<std::string>& files);

  std::uint64_t limit_;
  std::uint64_t bytes_ = 0;
  bool apart_ = false;  // of the operation that is being applied: claimed_apart
  TaskId last_id_;
  std::map<std::uint64_t, Entry> tasks_;
  std::unordered_map<std::string_view, std::uint64_t> by_uid_;  // the names are the bodies' own
  std::map<std::pair<std::string, std::string>, std::uint64_t> by_unique_;  // pool, key: live ones
  std::map<std::string, Ended> ended_;
};

// Whether a filter lets a task through; `after` and `limit` apart.
[[nodiscard]] bool fits(const TaskFilter& filter, const TaskRow& row);
inline constexpr std::uint32_t kMostListed = 10'000;

}  // namespace mtd::task
