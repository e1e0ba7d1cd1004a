#include "daemon/broker/two_stores.h"

#include <algorithm>
#include <utility>

namespace mtd::broker {
namespace {

using namespace task;

// Of a removal that names tasks of both.
std::vector<TaskId> take_if(std::vector<TaskId>& ids, const MemoryStore& memory) {
  std::vector<TaskId> taken;
  const auto rest =
      std::stable_partition(ids.begin(), ids.end(), [&](TaskId id) { return !memory.has(id); });
  taken.assign(rest, ids.end());
  ids.erase(rest, ids.end());
  return taken;
}

}  // namespace

// A task's operations name its own durability; but to revive one is asked for by its id alone.
bool TwoStores::is_of_memory(const StoreOp& op) const {
  if (const auto* revive = std::get_if<ReviveOp>(&op.what)) return memory_.has(revive->id);
  return op.durability == Durability::memory;
}

std::vector<StoreDone> TwoStores::submit(std::vector<StoreOp> ops) {
  std::vector<StoreOp> on_disk, in_memory;
  for (StoreOp& op : ops) {
    if (auto* removal = std::get_if<RemoveOp>(&op.what)) {
      std::vector<TaskId> ids = take_if(removal->ids, memory_);
      if (removal->ids.empty()) {
        removal->ids = std::move(ids);
        in_memory.push_back(std::move(op));
        continue;
      }
      StoreOp other;
      other.what = RemoveOp{std::move(ids)};
      (void)memory_.commit({std::move(other)}).size();
    } else if (is_of_memory(op)) {
      in_memory.push_back(std::move(op));
      continue;
    }
    on_disk.push_back(std::move(op));
  }
  disk_->submit(std::move(on_disk));
  return in_memory.empty() ? std::vector<StoreDone>() : memory_.commit(std::move(in_memory));
}

std::optional<StoreReply> TwoStores::ask(std::uint64_t token, StoreQuestion question) {
  if (const auto* one = std::get_if<FindTask>(&question)) {
    StoreReply reply = memory_.answer(question);
    if (!reply.tasks.empty()) return reply;
    disk_->ask(token, *one);
    return std::nullopt;
  }
  if (!std::holds_alternative<DescribeStore>(question)) asked_.emplace(token, question);
  disk_->ask(token, std::move(question));
  return std::nullopt;
}

void TwoStores::add_memory(const StoreQuestion& question, StoreReply& reply) {
  StoreReply more = memory_.answer(question);
  reply.removed += more.removed;
  for (std::size_t i = 0; i < std::size(reply.counts.by_state); ++i)
    reply.counts.by_state[i] += more.counts.by_state[i];
  const auto* list = std::get_if<ListTasks>(&question);
  if (list == nullptr) return;
  std::move(more.tasks.begin(), more.tasks.end(), std::back_inserter(reply.tasks));
  std::stable_sort(
      reply.tasks.begin(), reply.tasks.end(),
      [](const FoundTask& a, const FoundTask& b) { return a.row.facts.id < b.row.facts.id; });
  if (reply.tasks.size() > list->filter.limit) reply.tasks.resize(list->filter.limit);
}

std::vector<StoreOutput> TwoStores::take() {
  std::vector<StoreOutput> output = disk_->take();
  for (StoreOutput& one : output) {
    auto* replied = std::get_if<StoreReplied>(&one);
    if (replied == nullptr) continue;
    const auto question = asked_.find(replied->token);
    if (question == asked_.end()) continue;
    add_memory(question->second, replied->reply);
    asked_.erase(question);
  }
  return output;
}

}  // namespace mtd::broker
