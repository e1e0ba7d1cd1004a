// Wanted against actual, for one slot: what is not wanted is ended, what is missing is spawned,
// what has been replaced goes.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::reconcile(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  if (!state_.wants(number)) {
    end_unwanted(number);
    check_probe(number);
    if (kSeededFault != SeededFault::spawn_while_stopped) return;
    if (!rests_as<BackingOff>(slot)) return;
  }
  if (state_.frozen_since) return;
  check_probe(number);
  check_replaced(number);
  if (slot.current() == nullptr && may_spawn(number)) spawn(number);
}

void Turn::end_unwanted(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  const ExitCause cause = state_.stopped || state_.held_back || state_.has_place(number)
                              ? ExitCause::stop
                              : ExitCause::scale_down;
  for (Process& process : slot.processes)
    begin_stop(number, process, cause);
  set_replacing(number, Replacing::no);
  leave_queues(number);
  state_.waiting_for_breaker.erase(number);
  if (rests_as<BackingOff>(slot) && slot.processes.empty())
    publish_rest(Happening::stopped, number);
  const bool keeps_rest =
      rests_as<Parked>(slot) || (rests_as<Held>(slot) && state_.has_place(number));
  if (kSeededFault == SeededFault::spawn_while_stopped) {
    if (rests_as<BackingOff>(slot)) return;
  }
  if (!keeps_rest) slot.rest = Idle{};
  slot.crash_streak = 0;
  slot.spawn_streak = 0;
}

bool Turn::may_spawn(std::uint32_t number) {
  const Slot& slot = state_.slots[number];
  if (!has_room(slot)) return false;
  if (rests_as<Idle>(slot)) return true;
  const auto* backing_off = std::get_if<BackingOff>(&slot.rest);
  return backing_off != nullptr && backing_off->until <= now_ && breaker_lets(number);
}

// What is still there must be of a kind that allows a second one beside it. Two are never exceeded;
// left-overs that the policy keeps are not counted.
bool Turn::has_room(const Slot& slot) const {
  std::size_t beside = 0;
  for (const Process& process : slot.processes) {
    if (is_kept(process)) continue;
    if (!state_.spec.overlap) return false;
    const auto* emptying = std::get_if<Emptying>(&process.state);
    const auto cause = ending_cause(process);
    const bool left_over = emptying != nullptr && emptying->phase == EmptyingPhase::stuck;
    const bool replaced = cause && is_replacement(*cause) && !is<Requested>(process);
    // A roll-out that stops first has no second process: those beside are counted as surge.
    const bool stopped_first =
        cause == ExitCause::reload && !is<Draining>(process) && !is<Stuck>(process);
    if (stopped_first && !left_over) return false;
    if (!left_over && !replaced) return false;
    if (kSeededFault == SeededFault::two_replacements) {
      if (is<Draining>(process)) continue;
    }
    ++beside;
  }
  return beside < 2;
}

void Turn::spawn(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  Process process;
  process.incarnation = ++slot.incarnation;
  process.revision = state_.revision;
  process.fingerprint = state_.spec.spawn_fingerprint;
  process.started = now_;
  process.task_limit = draw(state_.spec.recycle.max_tasks);
  process.state = Requested{};
  slot.rest = Idle{};
  state_.waiting_for_breaker.erase(number);
  act(SpawnAction{key_of(number, process), process.revision, process.task_limit});
  slot.processes.push_back(process);
}

bool Turn::is_stable(const Process& process) const {
  const auto* up = std::get_if<Up>(&process.state);
  return up != nullptr && up->since + state_.spec.min_uptime <= now_;
}

// Whether being ready is not enough for the current process: it is a probe, or the first of a
// roll-out.
bool Turn::waits_for_stability(std::uint32_t slot) const {
  const auto* half_open = std::get_if<BreakerHalfOpen>(&state_.breaker);
  if (half_open != nullptr && half_open->probe == slot) return true;
  return state_.slots[slot].replacing == Replacing::reload && !state_.rollout.proven;
}

// The next moment at which this slot has something to do; later than now.
Instant Turn::slot_deadline(std::uint32_t number) const {
  const Slot& slot = state_.slots[number];
  Instant earliest = Instant::never();
  for (const Process& process : slot.processes) {
    earliest = std::min({earliest, deadline_of(process), next_watch(process)});
    earliest = std::min(earliest, next_limit(process, now_));
  }
  if (const auto* backing_off = std::get_if<BackingOff>(&slot.rest)) {
    if (backing_off->until > now_) earliest = std::min(earliest, backing_off->until);
  }
  if (const Process* current = slot.current(); current != nullptr && waits_for_stability(number)) {
    const auto* up = std::get_if<Up>(&current->state);
    if (up != nullptr && !current->frozen && !is_stable(*current)) {
      earliest = std::min(earliest, up->since + state_.spec.min_uptime);
    }
  }
  return earliest;
}

}  // namespace mtd::model
