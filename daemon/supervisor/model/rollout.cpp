// Rolling out a new revision. It stops half-way when processes of the new revision crash or cannot
// be started kRolloutFailures times, or when one is not ready in time: what still runs of the old
// revision stays, and the pool says so until the next configuration, reset-failed or start.
#include <utility>

#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::begin_rollout() {
  for (std::uint32_t slot = 0; slot < state_.slots.size(); ++slot)
    forgive(slot);
  reset_breaker();
  state_.queues.reload.clear();
  state_.rollout = Rollout{};
  state_.rollout.active = true;  // check_rollout says when it is done
  queue_outdated();
}

void Turn::queue_outdated() {
  for (std::uint32_t slot = 0; slot < state_.slots.size() && slot < state_.want(); ++slot) {
    const Process* current = state_.slots[slot].current();
    if (current == nullptr || !state_.is_outdated(*current)) continue;
    enqueue(state_.queues.reload, slot);
    state_.rollout.active = true;
  }
}

void Turn::rollout_failure(std::uint32_t weight) {
  if (!state_.rollout.active || weight == 0) return;
  state_.rollout.failures += weight;
  if (state_.rollout.failures >= kRolloutFailures) fail_rollout();
}

void Turn::fail_rollout() {
  state_.rollout.active = false;
  state_.rollout.failed = true;
  for (const std::uint32_t slot : std::exchange(state_.queues.reload, {}))
    touch(slot);
  for (std::uint32_t slot = 0; slot < state_.slots.size(); ++slot) {
    if (state_.slots[slot].replacing != Replacing::reload) continue;
    set_replacing(slot, Replacing::no);
    revert_draining(slot);
    mark(slot);
  }
  publish(Happening::rollout_failed, state_.revision);
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
  slot.rest = Idle{};
  state_.waiting_for_breaker.erase(number);
  mark(number);
}

void Turn::check_rollout() {
  Rollout& rollout = state_.rollout;
  const bool done = state_.queues.reload.empty() &&
                    state_.sums.replacing[static_cast<std::size_t>(Replacing::reload)] == 0;
  if (!rollout.active || !done) return;
  rollout.active = false;
  publish(Happening::reloaded, state_.revision);
}

}  // namespace mtd::model
