// Replacing processes that serve: recycling, roll-out of a new revision, restart by command. All
// three wait in a queue for their turn:
//   recycle   at most recycle.concurrency slots at a time (default: 10 % of the workers, at least
//   one)
//   reload    reload.max_surge and max_unavailable; one until the new revision is proven
//   restart   one slot at a time
// A slot keeps its turn until its new process is ready and the old one is gone (or stuck), so that
// a replacement that does not come up holds the others back. Where `overlap` allows it the old
// process drains until the new one is ready, else it is stopped first.
#include <algorithm>
#include <utility>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {
namespace {

ExitCause cause_of(Replacing kind) {
  switch (kind) {
    case Replacing::recycle:
      return ExitCause::recycle_max_tasks;
    case Replacing::reload:
      return ExitCause::reload;
    case Replacing::restart:
    case Replacing::no:
      return ExitCause::restart;
  }
  return ExitCause::restart;
}

// Anything that still has to go before the slot's replacement is complete.
bool is_leaving(const Process& process) {
  if (is<Stuck>(process) || is_kept(process)) return false;
  const auto* emptying = std::get_if<Emptying>(&process.state);
  return emptying == nullptr || emptying->phase != EmptyingPhase::stuck;
}

}  // namespace

void Turn::pump() {
  if (state_.stopped || state_.frozen_since) return;
  Queues& queues = state_.queues;
  while (pump_one(queues.recycle, Replacing::recycle, recycle_limit())) {
  }
  while (may_roll() && pump_one(queues.reload, Replacing::reload, ~0U)) {
  }
  while (pump_one(queues.restart, Replacing::restart, 1)) {
  }
}

bool Turn::pump_one(std::set<std::uint32_t>& queue, Replacing kind, std::uint32_t limit) {
  if (queue.empty() || state_.sums.replacing[static_cast<std::size_t>(kind)] >= limit) return false;
  const bool spare = kind != Replacing::recycle || can_spare_one();
  if (!spare && state_.sums.by_state[static_cast<std::size_t>(WorkerState::unready)] == 0)
    return false;
  const auto next = std::find_if(queue.begin(), queue.end(), [&](std::uint32_t number) {
    const Slot& slot = state_.slots[number];
    const Process* current = slot.current();
    return slot.replacing == Replacing::no &&
           (spare || (current != nullptr && is<Unready>(*current)));
  });
  if (next == queue.end()) return false;
  const std::uint32_t slot = *next;
  queue.erase(next);
  touch(slot);
  start_replacing(slot, kind);
  return true;
}

void Turn::start_replacing(std::uint32_t number, Replacing kind) {
  Slot& slot = state_.slots[number];
  Process* process = slot.current();
  if (process == nullptr || !state_.wants(number)) return;
  const auto due = due_cause(*process, now_);
  if (kind == Replacing::recycle && (!due || !is_started(*process))) return;
  if (kind == Replacing::reload && !state_.is_outdated(*process)) return;
  set_replacing(number, kind);
  publish(kind == Replacing::recycle ? Happening::recycling : Happening::restarting, number,
          *process);
  const ExitCause cause = kind == Replacing::recycle ? *due : cause_of(kind);
  if (runs_beside(kind) && is<Up>(*process)) {
    process->state = Draining{cause, Instant::never()};
    if (kSeededFault == SeededFault::stop_first) begin_stop(number, *process, cause);
  } else {
    begin_stop(number, *process, cause);
  }
  mark(number);
  tally(number);  // the next one in the queue looks at the sums
}

// Whether the next slot's new process may run beside the old one.
bool Turn::runs_beside(Replacing kind) const {
  if (!state_.spec.overlap) return false;
  return kind != Replacing::reload || state_.sums.surging < state_.spec.reload.max_surge;
}

// Whether a roll-out may begin with one more slot. At most one older revision drains: what a
// roll-out overtook had begun comes to its end first.
bool Turn::may_roll() {
  Rollout& rollout = state_.rollout;
  const std::uint32_t busy = state_.sums.replacing[static_cast<std::size_t>(Replacing::reload)];
  if (rollout.paused && kSeededFault != SeededFault::pause_ignored) return false;
  if (busy == 0) return !(rollout.settling = false);
  if (rollout.settling || !rollout.proven) return false;
  const std::uint32_t surge = state_.spec.overlap ? state_.spec.reload.max_surge : 0;
  const std::uint32_t missing = std::max(surge == 0 ? 1U : 0U, state_.spec.reload.max_unavailable);
  if (busy >= surge + missing) return false;
  return runs_beside(Replacing::reload) || state_.sums.missing < missing;
}

void Turn::set_replacing(std::uint32_t number, Replacing kind) {
  Slot& slot = state_.slots[number];
  if (slot.replacing != Replacing::no) {
    --state_.sums.replacing[static_cast<std::size_t>(slot.replacing)];
  }
  if (kind != Replacing::no) ++state_.sums.replacing[static_cast<std::size_t>(kind)];
  slot.replacing = kind;
}

// The new process has proved itself: the old one goes, and when it is gone the turn is over.
void Turn::check_replaced(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  const Process* current = slot.current();
  const bool given_up = current == nullptr && (rests_as<Completed>(slot) || rests_as<Failed>(slot));
  const bool ready = current != nullptr && is<Up>(*current) &&
                     (!waits_for_stability(number) || is_stable(*current));
  const bool proves = ready && slot.replacing == Replacing::reload && !state_.is_outdated(*current);
  if (proves && !std::exchange(state_.rollout.proven, true)) {
    // Slots that a roll-out before this one had begun with wait for the proof, too.
    for (std::uint32_t other = 0; other < state_.slots.size(); ++other) {
      if (state_.slots[other].replacing == Replacing::reload) mark(other);
    }
  }
  const std::uint64_t newest = current != nullptr ? current->incarnation : 0;
  bool leaving = false;
  for (Process& process : slot.processes) {
    const auto* draining = std::get_if<Draining>(&process.state);
    if (draining != nullptr && draining->cause != ExitCause::recycle_self) {
      const bool succeeded = (ready && process.incarnation < newest) || rests_as<Completed>(slot);
      if (succeeded || !state_.spec.overlap) begin_stop(number, process, draining->cause);
    }
    if (process.incarnation != newest && is_leaving(process)) leaving = true;
  }
  if ((ready && !leaving) || given_up) set_replacing(number, Replacing::no);
}

void Turn::enqueue(std::set<std::uint32_t>& queue, std::uint32_t slot) {
  queue.insert(slot);
  touch(slot);
}

void Turn::leave_queues(std::uint32_t slot) {
  state_.queues.recycle.erase(slot);
  state_.queues.reload.erase(slot);
  state_.queues.restart.erase(slot);
}

// Without overlap recycling takes away a worker that is ready: not while others are missing for
// other reasons. Those that do not come back by themselves are not waited for.
bool Turn::can_spare_one() const {
  if (state_.spec.overlap || kSeededFault == SeededFault::recycled_below_floor) return true;
  const auto in_state = [&](WorkerState state) {
    return state_.sums.by_state[static_cast<std::size_t>(state)];
  };
  const std::uint32_t absent =
      state_.sums.held + in_state(WorkerState::failed) + in_state(WorkerState::completed);
  const std::uint32_t able = state_.want() - std::min(state_.want(), absent);
  return state_.sums.ready + recycle_limit() > able;
}

std::uint32_t Turn::recycle_limit() const {
  const std::uint32_t set = state_.spec.recycle.concurrency;
  return set != 0 ? set : std::max(1U, state_.want() / 10);
}

}  // namespace mtd::model
