#include "daemon/supervisor/model/turn.h"

#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"

namespace mtd::model {

std::vector<Action> Turn::run(const Event& event) {
  if (!state_.awake && !std::holds_alternative<Adopted>(event)) wake();
  std::visit([this](const auto& fact) { apply(fact); }, event);
  if (state_.awake) {
    settle();
    finish();
  }
  return std::move(actions_);
}

// Everything that was adopted is known now.
void Turn::wake() {
  state_.awake = true;
  adapt_slots();
  drop_vanished();
  if (state_.remembered_fingerprint == 0) {
    queue_outdated();
  } else if (state_.remembered_fingerprint != state_.spec.spawn_fingerprint) {
    // The earlier life ended in the middle of a reload.
    const auto& previous = state_.previous;
    const bool back =
        previous && previous->spec->spawn_fingerprint == state_.spec.spawn_fingerprint;
    if (back) state_.previous.reset();
    begin_rollout();
    state_.rollout.back = back;
  }
  mark_all();
}

void Turn::settle() {
  keep_within_bounds();
  if (const auto* open = std::get_if<BreakerOpen>(&state_.breaker)) {
    if (open->retry_at <= now_) {
      state_.breaker = BreakerHalfOpen{};
      publish(Happening::breaker_half_open);
      release_waiting();
    }
  }
  const bool late = kSeededFault == SeededFault::deadline_left_behind;
  const Instant until = Instant::at_ns(now_.count_ns() - (late ? 1 : 0));
  for (;;) {
    while (const auto due = state_.deadlines.take_due(until))
      fire(*due);
    if (state_.dirty.empty()) {
      rescale();
      pump();
      check_breaker();
      check_rollout();
    }
    if (state_.dirty.empty()) return;
    const std::uint32_t slot = state_.dirty.back();
    state_.dirty.pop_back();
    state_.slots[slot].dirty = false;
    reconcile(slot);
    tally(slot);
  }
}

void Turn::fire(std::uint32_t slot) {
  for (Process& process : state_.slots[slot].processes) {
    if (deadline_of(process) <= now_) expire(slot, process);
    look_after(slot, process);
    enqueue_if_due(slot, process);
  }
  mark(slot);
}

// The pool as a whole: what people are shown, and events about it.
void Turn::finish() {
  const std::uint32_t due = state_.want() - std::min(state_.want(), state_.sums.held);
  if (due > 0 && state_.sums.ready >= due) state_.was_full = true;
  const PoolState shown = state_.state_now();
  if (shown == state_.shown) return;
  state_.shown = shown;
  state_.shown_since = now_;
  if (shown == PoolState::stopped) publish(Happening::stopped);
  if (shown == PoolState::completed) publish(Happening::completed);
  if (shown == PoolState::failed) publish(Happening::failed);
}

Process* Turn::process_of(const WorkerKey& key) {
  Process* process = nullptr;
  if (key.slot < state_.slots.size()) {
    Slot& slot = state_.slots[key.slot];
    process = slot.find(key.incarnation);
    if (kSeededFault == SeededFault::accept_stale_facts) {
      if (process == nullptr && !slot.processes.empty()) process = &slot.processes.back();
    }
  }
  if (process == nullptr) ++state_.stale_facts;
  return process;
}

void Turn::touch(std::uint32_t slot) {
  if (state_.slots[slot].touched) return;
  state_.slots[slot].touched = true;
  state_.touched.push_back(slot);
}

void Turn::mark(std::uint32_t slot) {
  touch(slot);
  if (state_.slots[slot].dirty) return;
  state_.slots[slot].dirty = true;
  state_.dirty.push_back(slot);
}

// Highest first into the list, so that the lowest is worked on first.
void Turn::mark_all() {
  for (std::size_t slot = state_.slots.size(); slot-- > 0;)
    mark(static_cast<std::uint32_t>(slot));
}

void Turn::grow(std::uint32_t slots) {
  while (state_.slots.size() < slots) {
    state_.slots.emplace_back();
    if (!state_.is_dynamic()) continue;
    state_.slots.back().rest = Parked{};
    state_.parked.insert(static_cast<std::uint32_t>(state_.slots.size() - 1));
  }
}

void Turn::publish(Happening happening, std::uint64_t number) {
  PublishAction action;
  action.happening = happening;
  action.number = number;
  act(action);
}

void Turn::publish(Happening happening, std::uint32_t slot, const Process& process,
                   std::uint64_t number) {
  PublishAction action;
  action.happening = happening;
  action.worker = key_of(slot, process);
  action.pid = process.pid;
  action.number = number;
  act(action);
}

void Turn::publish_rest(Happening happening, std::uint32_t slot,
                        std::optional<Duration> next_attempt) {
  PublishAction action;
  action.happening = happening;
  action.worker = WorkerKey{slot, state_.slots[slot].incarnation};
  action.next_attempt = next_attempt;
  act(action);
}

}  // namespace mtd::model
