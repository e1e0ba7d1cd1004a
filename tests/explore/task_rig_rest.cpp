// Everything obeys: tasks must become final.
#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;
using Kind = TaskRig::Choice::Kind;

void TaskRig::come_to_rest(bool stubborn) {
  if (broken_) return;
  menu_.spares = 1'000'000;
  menu_.crash = menu_.stop = menu_.full = menu_.broken = menu_.misbehave = menu_.drain = false;
  menu_.close = false;
  menu_.cancels = menu_.revives = 0;
  if (paused_) {
    paused_ = false;
    step(Resume{});
  }
  for (int turn = 0; turn < 50'000 && wrong_.empty(); ++turn) {
    const auto offered = choices();
    const Choice* best = nullptr;
    int rank = 99;
    for (const Choice& choice : offered) {
      int of = 99;
      switch (choice.kind) {
        case Kind::commit:
          of = 0;
          break;
        case Kind::crash:  // only those that are being killed
          of = 1;
          break;
        case Kind::stop:
          of = 2;
          break;
        case Kind::attach:
        case Kind::ready:
          of = 3;
          break;
        case Kind::done:
          of = stubborn ? 99 : 4;
          break;
        case Kind::deadline:
          of = 5;
          break;
        default:
          break;
      }
      if (of < rank) {
        rank = of;
        best = &choice;
      }
    }
    const bool all_final = std::all_of(store_.begin(), store_.end(), [](const auto& stored) {
      return is_final(stored.second.facts.state);
    });
    if (all_final && under_way_.empty() && queue_.state().by_id.empty()) {
      if (!tickets_.empty()) fail("a client was never answered");
      return;
    }
    // A worker that will be given nothing any more is replaced.
    const auto replaceable = [](const auto& entry) {
      return (entry.second.spent || entry.second.drained) && entry.second.has.empty();
    };
    const auto idle = std::find_if(bodies_.begin(), bodies_.end(), replaceable);
    if (rank >= 4 && idle != bodies_.end()) {
      lose(idle->first, Death{DeathCause::stopped, 0});
      continue;
    }
    if (best == nullptr) return fail("tasks are left, and nothing is waited for");
    const Choice chosen = *best;
    take(chosen, 1);
  }
  fail("tasks never become final");
}

}  // namespace mtd::test
