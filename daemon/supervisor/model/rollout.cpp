// Rolling out a new revision. It fails when processes of the new revision crash or cannot be
// started kRolloutFailures times, when one is not ready in time or is given up, or when the breaker
// opens. Then the revision that was in force before is in force again, and the pool is brought back
// to it as it was brought forward; the failed one is remembered until the next change, reset-failed
// or start. A way back does not fail: there is nothing behind it.
#include <utility>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::begin_rollout() {
  for (std::uint32_t slot = 0; slot < state_.slots.size(); ++slot)
    forgive(slot);
  reset_breaker();
  for (const std::uint32_t slot : std::exchange(state_.queues.reload, {}))
    touch(slot);
  state_.rollout = Rollout{};
  state_.rollout.active = true;  // check_rollout says when it is done
  state_.rollout.settling = state_.sums.replacing[static_cast<std::size_t>(Replacing::reload)] > 0;
  queue_outdated();
}

void Turn::queue_outdated() {
  for (std::uint32_t slot = 0; slot < state_.slots.size(); ++slot) {
    if (!state_.has_place(slot)) continue;
    const Process* current = state_.slots[slot].current();
    if (current == nullptr || !state_.is_outdated(*current)) continue;
    enqueue(state_.queues.reload, slot);
    state_.rollout.active = true;
  }
}

void Turn::rollout_failure(std::uint32_t slot, std::uint32_t weight) {
  Rollout& rollout = state_.rollout;
  if (!rollout.active || rollout.back || weight == 0) return;
  rollout.failures += weight;
  if (rollout.failures >= kRolloutFailures) fail_rollout(slot);
}

void Turn::fail_rollout(std::uint32_t slot) {
  const std::uint64_t number = state_.revision;
  FailedRevision failed;
  failed.revision = {number, std::make_shared<const config::PoolSpec>(state_.spec)};
  failed.slot = slot;
  failed.exit = state_.slots[slot].exits.front();
  state_.failed = std::move(failed);
  publish(Happening::rollout_failed, number);
  if (state_.previous && kSeededFault != SeededFault::half_way_stays) {
    go_back();
  } else {  // nobody knows what was before: the rest of it stays
    state_.rollout.active = false;
  }
  state_.rollout.failed = true;
}

// The revision before is the wanted one again. What still runs of it serves on; what was to replace
// it ends.
void Turn::go_back() {
  const Revision before = *std::exchange(state_.previous, std::nullopt);
  const config::PoolSpec abandoned = std::exchange(state_.spec, *before.spec);
  state_.revision = before.number;
  adapt_slots();
  retarget(abandoned);
  begin_rollout();
  state_.rollout.back = state_.rollout.proven = true;
  state_.rollout.settling = false;
  mark_all();
}

// A process that was to be replaced by a roll-out serves on; what was to replace it ends.
void Turn::revert_draining(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  Process* old = nullptr;
  for (Process& process : slot.processes) {
    const auto* draining = std::get_if<Draining>(&process.state);
    if (draining != nullptr && draining->cause == ExitCause::reload) old = &process;
  }
  if (old == nullptr) return;
  for (Process& process : slot.processes) {
    if (is_current(process)) begin_stop(number, process, ExitCause::reload);
  }
  old->state = Up{now_};
  if (!rests_as<Parked>(slot)) slot.rest = Idle{};
  state_.waiting_for_breaker.erase(number);
  mark(number);
}

void Turn::check_rollout() {
  Rollout& rollout = state_.rollout;
  const bool done = state_.queues.reload.empty() &&
                    state_.sums.replacing[static_cast<std::size_t>(Replacing::reload)] == 0;
  if (!rollout.active || !done) return;
  rollout.active = rollout.paused = false;
  publish(rollout.back ? Happening::rolled_back : Happening::reloaded, state_.revision);
}

void Turn::apply(const RolloutCommand& command) {
  Rollout& rollout = state_.rollout;
  switch (command.order) {
    case RolloutOrder::pause:
      if (!rollout.active || rollout.paused) return;
      rollout.paused = true;
      publish(Happening::rollout_paused, state_.revision);
      return;
    case RolloutOrder::resume:
      if (!rollout.paused) return;
      rollout.paused = false;
      publish(Happening::rollout_resumed, state_.revision);
      return;
    case RolloutOrder::forget:
      state_.failed.reset();
      rollout.failed = false;
      return;
  }
}

}  // namespace mtd::model
