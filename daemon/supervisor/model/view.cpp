// What status, why and events tell.
#include "daemon/supervisor/model/state.h"

namespace mtd::model {
namespace {

ProcessView view_of(std::uint32_t slot, const Process& process) {
  ProcessView view;
  view.key = {slot, process.incarnation};
  view.state = printed_state(process);
  view.pid = is<Emptying>(process) ? 0 : process.pid;
  view.revision = process.revision;
  view.started = process.started;
  view.state_deadline = deadline_of(process);
  view.tasks = process.tasks;
  view.task_limit = process.task_limit;
  view.rss_limit = process.limits.rss;
  view.expires = next_limit(process, Instant());
  view.alive_until = process.watch.alive_until;
  view.live_failures = process.watch.live.failures;
  view.ready_failures = process.watch.ready.failures;
  view.ending = is_kept(process) ? ExitCause::left_over : ending_cause(process);
  return view;
}

Instant next_attempt(const Pool::State& state, const Slot& slot) {
  const auto* backing_off = std::get_if<BackingOff>(&slot.rest);
  if (backing_off == nullptr || slot.current() != nullptr) return Instant::never();
  const auto* open = std::get_if<BreakerOpen>(&state.breaker);
  return open != nullptr ? std::max(open->retry_at, backing_off->until) : backing_off->until;
}

SlotView view_of(const Pool::State& state, std::uint32_t number) {
  const Slot& slot = state.slots[number];
  SlotView view;
  view.slot = number;
  view.state = slot.tally.state;
  view.incarnation = slot.incarnation;
  view.restarts = slot.restarts;
  view.recycled = slot.recycled;
  view.spawn_failures = slot.spawn_failures;
  view.next_attempt = next_attempt(state, slot);
  view.exits = slot.exits;
  for (auto it = slot.processes.rbegin(); it != slot.processes.rend(); ++it) {
    view.processes.push_back(view_of(number, *it));
  }
  return view;
}

RolloutState state_of(const Rollout& rollout) {
  if (!rollout.active) return RolloutState::none;
  if (rollout.paused) return RolloutState::paused;
  if (rollout.settling) return RolloutState::waiting;
  return rollout.back ? RolloutState::back : RolloutState::rolling;
}

RolloutView view_of_rollout(const Pool::State& state) {
  RolloutView view;
  view.state = state_of(state.rollout);
  view.remaining = static_cast<std::uint32_t>(state.queues.reload.size()) +
                   state.sums.replacing[static_cast<std::size_t>(Replacing::reload)];
  view.failures = state.rollout.failures;
  if (state.previous) view.previous = state.previous->number;
  if (!state.failed) return view;
  view.failed = state.failed->revision.number;
  view.failed_slot = state.failed->slot;
  view.failed_exit = state.failed->exit;
  return view;
}

std::uint32_t in_state(const Sums& sums, WorkerState state) {
  return sums.by_state[static_cast<std::size_t>(state)];
}

}  // namespace

PoolState Pool::State::state_now() const {
  if (stopped && sums.alive == 0) return PoolState::stopped;
  if (stopped) return sums.draining > 0 ? PoolState::draining : PoolState::stopping;
  if (held_back) return sums.alive > 0 ? PoolState::stopping : PoolState::starting;
  if (frozen_since) return PoolState::frozen;
  if (std::holds_alternative<BreakerTripped>(breaker)) return PoolState::failed;
  const std::uint32_t slots_wanted = want() - std::min(want(), sums.held);
  if (slots_wanted == 0) {
    if (sums.alive > 0 && !is_dynamic()) return PoolState::draining;
    return want() == 0 ? PoolState::running : PoolState::stopped;
  }
  const std::uint32_t done = in_state(sums, WorkerState::completed);
  const std::uint32_t given_up = in_state(sums, WorkerState::failed);
  if (done >= slots_wanted) return PoolState::completed;
  if (given_up > 0 && done + given_up >= slots_wanted) return PoolState::failed;
  if (rollout.active) return PoolState::rolling;
  if (sums.ready + done >= slots_wanted) {
    return rollout.failed && sums.outdated > 0 ? PoolState::degraded : PoolState::running;
  }
  const std::uint32_t waiting = in_state(sums, WorkerState::backoff);
  if (sums.ready == 0 && waiting > 0) return PoolState::backoff;
  const std::uint32_t ailing = waiting + given_up + in_state(sums, WorkerState::stuck);
  return was_full || ailing > 0 ? PoolState::degraded : PoolState::starting;
}

PoolView Pool::summary(Instant now) const {
  const State& state = *state_;
  PoolView view;
  view.state = state.shown;
  view.since = state.shown_since;
  view.want = state.want();
  view.want_file = state.spec.workers;
  view.ready = state.sums.ready;
  view.alive = state.sums.alive;
  view.restarts = state.restarts;
  view.recycled = state.recycled;
  view.spawn_failures = state.spawn_failures;
  view.stale_facts = state.stale_facts;
  view.revision = state.revision;
  view.outdated = state.sums.outdated;
  view.stuck = state.sums.stuck;
  view.breaker_open = !std::holds_alternative<BreakerClosed>(state.breaker);
  if (const auto* open = std::get_if<BreakerOpen>(&state.breaker))
    view.breaker_retry = open->retry_at;
  view.crashes_in_window = state.crashes.count(now, state.spec.crash_limit.window);
  view.crash_limit = crash_limit(state.spec, state.want());
  if (state.sums.telling > 0) view.busy = state.sums.busy;
  view.dynamic = state.is_dynamic();
  if (view.dynamic) {
    view.by_hand = state.want_override.has_value();
    view.need = state.needed();
  }
  if (state.scaling) {
    view.restraint = state.scaling->restraint;
    view.demanded = state.scaling->demanded;
    view.shrink_at = state.scaling->until;
  }
  const auto replacing = [&](Replacing kind) {
    return state.sums.replacing[static_cast<std::size_t>(kind)];
  };
  view.rollout = view_of_rollout(state);
  view.held_back = state.held_back;
  view.stop_due = state.stop_due.has_value();
  view.programs_run = state.sums.programs + state.sums.held >= state.want();
  view.restart_remaining =
      static_cast<std::uint32_t>(state.queues.restart.size()) + replacing(Replacing::restart);
  return view;
}

PoolView Pool::view(Instant now) const {
  PoolView view = summary(now);
  view.slots.reserve(view.want);
  for (const std::uint32_t number : shown_slots())
    view.slots.push_back(view_of(*state_, number));
  return view;
}

std::vector<std::uint32_t> Pool::shown_slots() const {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t number = 0; number < state_->slots.size(); ++number) {
    if (state_->has_place(number) || !state_->slots[number].processes.empty())
      numbers.push_back(number);
  }
  return numbers;
}

ReadySpan Pool::ready_span(const std::vector<std::uint32_t>& slots) const {
  ReadySpan span;
  const auto look_at = [&](std::uint32_t number) {
    const Process* current =
        number < state_->slots.size() ? state_->slots[number].current() : nullptr;
    const auto* up = current == nullptr ? nullptr : std::get_if<Up>(&current->state);
    if (up == nullptr) return;
    span.first = std::min(span.first, up->since);
    span.last = std::max(span.last, up->since);
  };
  for (const std::uint32_t number : slots)
    look_at(number);
  for (std::uint32_t number = 0; slots.empty() && number < state_->slots.size(); ++number) {
    if (state_->has_place(number)) look_at(number);
  }
  return span;
}

std::optional<SlotView> Pool::slot_view(std::uint32_t slot, Instant) const {
  if (slot >= state_->slots.size()) return std::nullopt;
  return view_of(*state_, slot);
}

}  // namespace mtd::model
