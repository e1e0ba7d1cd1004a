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

bool TwoStores::is_of_memory(const StoreOp& op) const {
  return std::visit(
      [&](const auto& what) {
        if constexpr (requires { what.id; }) {
          return memory_.has(what.id);
        } else {
          return op.durability == Durability::memory;
        }
      },
      op.what);
}

std::vector<StoreDone> TwoStores::commit(std::vector<StoreOp> batch) {
  struct Place {
    bool memory = false;
    std::size_t at = 0;  // in the completions of its store
  };
  std::vector<Place> places;
  std::vector<StoreOp> on_disk, in_memory;
  for (StoreOp& op : batch) {
    if (auto* removal = std::get_if<RemoveOp>(&op.what)) {
      StoreOp other = op;
      std::get<RemoveOp>(other.what).ids = take_if(removal->ids, memory_);
      if (!std::get<RemoveOp>(other.what).ids.empty())
        (void)memory_.commit({std::move(other)}).size();
    } else if (is_of_memory(op)) {
      places.push_back({true, in_memory.size()});
      in_memory.push_back(std::move(op));
      continue;
    }
    places.push_back({false, on_disk.size()});
    on_disk.push_back(std::move(op));
  }
  auto memory_done =
      in_memory.empty() ? std::vector<StoreDone>() : memory_.commit(std::move(in_memory));
  auto disk_done = on_disk.empty() ? std::vector<StoreDone>() : disk_->commit(std::move(on_disk));
  std::vector<StoreDone> done;
  done.reserve(places.size());
  for (const Place& place : places)
    done.push_back(std::move(place.memory ? memory_done[place.at] : disk_done[place.at]));
  return done;
}

StoreReply TwoStores::find(const FindTask& question) {
  if (question.id.value != 0)
    return memory_.has(question.id) ? memory_.answer(question) : disk_->answer(question);
  StoreReply reply = memory_.answer(question);
  return reply.tasks.empty() ? disk_->answer(question) : reply;
}

StoreReply TwoStores::list(const ListTasks& question) {
  StoreReply reply = disk_->answer(question);
  StoreReply more = memory_.answer(question);
  std::move(more.tasks.begin(), more.tasks.end(), std::back_inserter(reply.tasks));
  std::stable_sort(
      reply.tasks.begin(), reply.tasks.end(),
      [](const FoundTask& a, const FoundTask& b) { return a.row.facts.id < b.row.facts.id; });
  if (reply.tasks.size() > question.filter.limit) reply.tasks.resize(question.filter.limit);
  return reply;
}

StoreReply TwoStores::answer(const StoreQuestion& question) {
  if (const auto* one = std::get_if<FindTask>(&question)) return find(*one);
  if (const auto* some = std::get_if<ListTasks>(&question)) return list(*some);
  StoreReply reply = disk_->answer(question);
  if (std::holds_alternative<DescribeStore>(question)) return reply;
  const StoreReply more = memory_.answer(question);
  for (std::size_t i = 0; i < std::size(reply.counts.by_state); ++i)
    reply.counts.by_state[i] += more.counts.by_state[i];
  reply.removed += more.removed;
  return reply;
}

}  // namespace mtd::broker
