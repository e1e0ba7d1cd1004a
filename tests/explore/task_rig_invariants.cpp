// What must hold between steps.
#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;

void TaskRig::check() {
  const Queue::State& state = queue_.state();
  std::set<std::uint64_t> entering;
  for (const StoreOp& op : under_way_) {
    if (const auto* put = std::get_if<PutOp>(&op.what)) {
      for (const NewTask& task : put->tasks)
        entering.insert(task.facts.id.value);
    }
  }
  for (const auto& [id, slot] : state.by_id) {
    const auto stored = store_.find(id);
    const bool live = stored != store_.end() && !is_final(stored->second.facts.state);
    if (!live && entering.count(id) == 0) fail("in the queue, but not in the store", TaskId{id});
  }
  for (const auto& [id, stored] : store_) {
    if (!is_final(stored.facts.state) && state.by_id.count(id) == 0)
      fail("in the store, but not in the queue: lost", TaskId{id});
    if (stored.crashes > spec_.max_crashes)
      fail("may kill more workers than max_crashes", TaskId{id});
  }
  const QueueView view = queue_.view();
  if (view.waiting != state.ready.size()) fail("the count of waiting tasks is wrong");
  if (queue_.next_deadline() < now_) fail("a deadline was left in the past");
  std::uint64_t queued = 0, bytes = 0, ending = 0;
  for (const auto& [id, slot] : state.by_id) {
    const Task& of = state.tasks[slot];
    if (is_queued(of.place)) {
      ++queued;
      bytes += of.bytes;
    }
    if (is_in<Ending>(of)) ++ending;
  }
  if (queued != state.queued || bytes != view.bytes) fail("the fill of the queue is wrong");
  if (view.waiting + view.scheduled + view.running + view.entering + ending != state.by_id.size())
    fail("the counts do not add up");
  for (const auto& [key, worker] : state.workers) {
    const auto body = bodies_.find(key);
    if (body == bodies_.end()) return fail("the queue has a worker that is not there");
    const auto owed = [&](Slot slot) {
      const Task& of = state.tasks[slot];
      return in_sockets_.count({of.id.value, of.counters.attempts}) == 0;
    };
    const auto owes = std::count_if(worker.tasks.begin(), worker.tasks.end(), owed);
    if (worker.ready && static_cast<std::uint64_t>(owes) > worker.credit)
      fail("more tasks than credit");
  }
  if (!menu_.group) return;
  const std::uint64_t live = queue_.live_in_group(kGroup);
  if (live != state.by_id.size()) fail("the group has not the members that it has");
  if (group_live_ != 0 && live == 0 && !group_told_) fail("the end of a group was not told");
  group_live_ = live;
}

}  // namespace mtd::test
