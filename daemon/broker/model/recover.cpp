// The first moment of a queue: what an earlier life has left in the store.
#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {

void Turn::recover(Recovered recovered) {
  for (const TaskFacts& facts : recovered.tasks) {
    state_.next_order = std::max(state_.next_order, facts.order + 1);
    const Slot slot = make(facts, Waiting{});
    if (facts.state == TaskState::scheduled) {
      place_queued(slot, facts.state, facts.due, facts.due_by_wall);
    } else if (facts.state == TaskState::running) {
      Running running;
      running.worker = facts.worker;
      running.started = facts.started;
      running.unconfirmed = true;  // its time-out begins to count when its worker shows itself
      move(slot, running);
      state_.orphans[facts.worker].push_back(slot);
    }
  }
  state_.sides[0].oldest_done = recovered.oldest_done;
  state_.sides[0].oldest_dead = recovered.oldest_dead;
  plan_collect(state_.sides[0]);
}

}  // namespace mtd::task
