// The canonical form of a state.
#include <algorithm>
#include <map>
#include <vector>

#include "daemon/broker/model/state.h"
#include "tests/explore/state_hash.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;

std::uint64_t TaskRig::canonical() const {
  const Queue::State& state = queue_.state();
  StateHash hash;
  hash.add((paused_ ? 1U : 0U) | (broken_ ? 2U : 0U) | (state.adopting ? 4U : 0U) |
           (tight_ ? 8U : 0U));
  hash.add(next_id_);
  hash.add(spares_ | (cancels_ << 8U) | (restarts_ << 16U) | (revives_ << 24U));
  std::map<std::uint64_t, Slot> tasks(state.by_id.begin(), state.by_id.end());
  std::vector<std::uint64_t> orders;
  for (const auto& [id, slot] : tasks)
    orders.push_back(state.tasks[slot].order);
  std::sort(orders.begin(), orders.end());
  for (const auto& [id, slot] : tasks) {
    const Task& task = state.tasks[slot];
    hash.add(id);
    hash.add(task.place.index());
    hash.add(static_cast<std::uint64_t>(std::lower_bound(orders.begin(), orders.end(), task.order) -
                                        orders.begin()));
    hash.add(task.counters.failures | (task.counters.crashes << 8U));
    hash.add(task.cancel ? 1 + static_cast<std::uint64_t>(*task.cancel) : 0);
    hash.add(state.instant_at(task.expires), now_);
    if (const auto* scheduled = std::get_if<Scheduled>(&task.place)) hash.add(scheduled->due, now_);
    if (const auto* running = std::get_if<Running>(&task.place)) {
      hash.add(running->deadline, now_);
      hash.add(static_cast<std::uint64_t>(running->stage));
      hash.add((running->timed_out ? 1U : 0U) | (running->unconfirmed ? 2U : 0U) |
               (running->cancel_pending ? 4U : 0U) | (running->cancel_now ? 8U : 0U));
      hash.add(running->worker.slot);
    }
    if (const auto* claiming = std::get_if<Claiming>(&task.place)) {
      hash.add(claiming->worker.slot + (bodies_.count(claiming->worker) != 0 ? 100U : 0U));
    }
    if (const auto* back = std::get_if<Requeueing>(&task.place)) hash.add(back->due, now_);
  }
  for (const auto& [key, worker] : state.workers) {
    hash.add(900 + key.slot);
    hash.add((worker.ready ? 1U : 0U) | (worker.draining ? 2U : 0U) | (worker.spent ? 4U : 0U) |
             (worker.killed ? 8U : 0U) | (worker.misbehaved ? 16U : 0U) |
             (worker.drained_said ? 32U : 0U));
    hash.add(worker.closed, now_);
    hash.add(worker.tasks.size() | (worker.claims << 8U));
    hash.add(worker.limit != 0 ? worker.given : 0);
  }
  for (const auto& [turn, key] : state.free_workers)
    hash.add(700 + key.slot);
  for (const StoreSide& side : state.sides) {
    hash.add((side.full ? 1U : 0U) | (side.probing ? 2U : 0U) | (side.collecting ? 4U : 0U) |
             (side.stands ? 8U : 0U));
    hash.add(side.probe_at, now_);
    hash.add(side.stalled.size());
    for (const StoreOp& op : side.stalled)
      hash.add(op.what.index());
  }
  hash.add(state.cancel_waiters.size());
  for (const StoreOp& op : under_way_) {
    hash.add(op.what.index());
    if (const auto* finish = std::get_if<FinishOp>(&op.what))
      hash.add((finish->id.value << 4U) | static_cast<std::uint64_t>(finish->state));
    if (const auto* claim = std::get_if<ClaimOp>(&op.what)) hash.add(claim->id.value);
    if (const auto* back = std::get_if<RequeueOp>(&op.what)) hash.add(back->id.value);
    if (const auto* promote = std::get_if<PromoteOp>(&op.what)) hash.add(promote->id.value);
  }
  for (const auto& [id, stored] : store_) {
    hash.add(id);
    hash.add(static_cast<std::uint64_t>(stored.facts.state));
    hash.add(stored.crashes | (stored.refusals != 0 ? 256U : 0U));
  }
  for (const auto& [key, body] : bodies_) {
    hash.add(800 + key.slot);
    hash.add((body.ready ? 1U : 0U) | (body.drained ? 2U : 0U) | (body.killed ? 4U : 0U) |
             (body.closed ? 8U : 0U));
    for (const auto& [id, attempt] : body.has) {
      const auto stored = store_.find(id);
      const bool current =
          stored != store_.end() && stored->second.facts.counters.attempts == attempt;
      hash.add(id * 2 + (current ? 1 : 0));
      hash.add(unsettled_.count({id, attempt}));
    }
  }
  if (menu_.late) hash.add(std::min<std::uint64_t>(sent_.size(), 3));
  return hash.value();
}

}  // namespace mtd::test
