// A slot's part of the pool's sums is taken out and put in again whenever the slot was touched, so
// that the state of a pool costs nothing to know.
#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {
namespace {

WorkerState state_of_rest(const Slot& slot, bool wanted) {
  if (rests_as<BackingOff>(slot)) return WorkerState::backoff;
  if (rests_as<Failed>(slot)) return WorkerState::failed;
  if (rests_as<Completed>(slot)) return WorkerState::completed;
  if (rests_as<Held>(slot) || !wanted) return WorkerState::stopped;
  return WorkerState::starting;  // it waits for room, for a thaw, or for its first turn
}

WorkerState state_of(const Slot& slot, bool wanted) {
  if (const Process* current = slot.current()) return printed_state(*current);
  for (auto it = slot.processes.rbegin(); it != slot.processes.rend(); ++it) {
    if (is_kept(*it)) continue;
    const auto* emptying = std::get_if<Emptying>(&it->state);
    const bool crashed = emptying != nullptr && emptying->phase != EmptyingPhase::stuck &&
                         !is_planned(emptying->cause);
    if (!crashed) return printed_state(*it);
  }
  return state_of_rest(slot, wanted);
}

bool is_on_its_way(const Process& process, const Slot& slot) {
  if (process.frozen) return false;
  if (const auto* emptying = std::get_if<Emptying>(&process.state)) {
    return emptying->phase == EmptyingPhase::waiting || emptying->phase == EmptyingPhase::killed;
  }
  if (const auto* draining = std::get_if<Draining>(&process.state)) {
    return !draining->deadline.is_never() || rests_as<Idle>(slot);
  }
  return !is_started(process) && !is<Stuck>(process);
}

bool serves(const Process& process) {
  if (process.frozen) return false;
  const auto* draining = std::get_if<Draining>(&process.state);
  if (kSeededFault == SeededFault::unready_serves) {
    if (is<Unready>(process)) return true;
  }
  return is<Up>(process) || (draining != nullptr && draining->cause != ExitCause::recycle_self);
}

// The second process a roll-out has made, until the first is gone or stuck.
bool is_surging(const Slot& slot) {
  if (slot.replacing != Replacing::reload) return false;
  if (slot.draining() != nullptr) return true;
  std::size_t there = 0;
  for (const Process& process : slot.processes) {
    if (!is<Stuck>(process) && !is<Emptying>(process)) ++there;
  }
  return there > 1;
}

void add(Sums& sums, const Slot& slot, std::uint32_t sign) {
  const Tally& tally = slot.tally;
  if (tally.counted) {
    sums.by_state[static_cast<std::size_t>(tally.state)] += sign;
    if (tally.ready) sums.ready += sign;
    if (tally.held) sums.held += sign;
    if (tally.programs) sums.programs += sign;
    if (tally.busy) sums.busy += sign;
    if (tally.tells) sums.telling += sign;
  }
  if (tally.draining) sums.draining += sign;
  if (tally.surging) sums.surging += sign;
  if (tally.missing) sums.missing += sign;
  sums.alive += sign * tally.alive;
  sums.outdated += sign * tally.outdated;
  sums.stuck += sign * tally.stuck;
  if (tally.unsettled) sums.unsettled += sign;
  if (tally.waiting) sums.waiting += sign;
}

}  // namespace

void Turn::tally(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  add(state_.sums, slot, ~std::uint32_t{0});  // −1
  Tally next;
  next.state = state_of(slot, state_.wants(number));
  next.counted = state_.has_place(number);
  next.held = rests_as<Held>(slot);
  next.surging = is_surging(slot);
  next.waiting = rests_as<BackingOff>(slot);
  next.alive = static_cast<std::uint32_t>(slot.processes.size());
  for (const Process& process : slot.processes) {
    if (serves(process)) next.ready = true;
    if (is_running(process)) next.programs = true;
    const auto* stopping = std::get_if<Stopping>(&process.state);
    if (stopping != nullptr && stopping->drain) next.draining = true;
    if (is_serving(process) && state_.is_outdated(process)) ++next.outdated;
    if (printed_state(process) == WorkerState::stuck) ++next.stuck;
    if (is_on_its_way(process, slot)) next.unsettled = true;
  }
  next.missing = slot.replacing == Replacing::reload && !next.ready;
  const Process* current = slot.current();
  if (current != nullptr && is<Up>(*current)) {
    next.busy = current->activity == Activity::busy;
    next.tells = current->activity != Activity::unknown;
  }
  if (slot.replacing != Replacing::no && current != nullptr && !current->frozen) {
    next.unsettled = true;
  }
  slot.tally = next;
  add(state_.sums, slot, 1);
  state_.deadlines.set(number, slot_deadline(number));
}

}  // namespace mtd::model
