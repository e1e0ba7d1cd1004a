// What people ask for, configurations excepted (reconfigure.cpp). A command changes what is wanted
// and marks the slots it concerns; reconcile does the rest.
#include <algorithm>
#include <utility>

#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::forgive(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  if (rests_as<BackingOff>(slot) || rests_as<Failed>(slot)) slot.rest = Idle{};
  slot.crash_streak = 0;
  slot.spawn_streak = 0;
  state_.waiting_for_breaker.erase(number);
  mark(number);
}

void Turn::refresh(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  forgive(number);
  if (rests_as<Held>(slot) || rests_as<Completed>(slot)) slot.rest = Idle{};
}

void Turn::apply(const HoldBackCommand& command) {
  if (command.held_back == state_.held_back) return;
  state_.held_back = command.held_back;
  if (!state_.stopped) publish(command.held_back ? Happening::waiting : Happening::admitted);
  if (!command.held_back) state_.was_full = false;
  mark_all();
}

// A slot named in a stopped pool starts alone: the others are held.
void Turn::apply(const StartCommand& command) {
  const bool whole = command.slots.empty();
  state_.stop_due.reset();
  if (state_.stopped) {
    state_.stopped = false;
    state_.was_full = false;
    publish(Happening::started);
    begin_anew();
    if (!whole) {
      for (Slot& slot : state_.slots) {
        if (!rests_as<Parked>(slot)) slot.rest = Held{};
      }
    }
    mark_all();
  }
  if (whole) reset_breaker();
  for_slots(command.slots, [this](std::uint32_t slot) { refresh(slot); });
}

void Turn::apply(const StopCommand& command) {
  const bool whole = command.slots.empty();
  if (whole && command.when_free && !state_.stopped) {
    state_.stop_due = command.manner;
    return;
  }
  if (whole) state_.stop_due.reset();
  if (whole && !state_.stopped) {
    state_.stopped = true;
    publish(command.manner == StopManner::drain ? Happening::draining : Happening::stopping);
    reset_breaker();
  }
  for_slots(command.slots, [&](std::uint32_t number) {
    Slot& slot = state_.slots[number];
    if (!whole && state_.has_place(number)) slot.rest = Held{};
    for (Process& process : slot.processes) {
      switch (command.manner) {
        case StopManner::gently:
          end_drain(number, process);
          break;
        case StopManner::now:
          stop_now(number, process, ExitCause::stop);
          break;
        case StopManner::drain:
          drain(number, process);
          break;
      }
    }
    mark(number);
  });
  if (whole && state_.frozen_since) {
    state_.frozen_since.reset();
    publish(Happening::thawed);
  }
}

// What is stopped, failed or completed is started; what serves waits for its turn.
void Turn::apply(const RestartCommand& command) {
  if (state_.stopped) {
    apply(StartCommand{command.slots});
    return;
  }
  if (command.slots.empty()) reset_breaker();
  for_slots(command.slots, [this](std::uint32_t number) {
    if (!state_.has_place(number)) return;
    refresh(number);
    if (state_.slots[number].current() != nullptr) enqueue(state_.queues.restart, number);
  });
}

void Turn::apply(const ScaleCommand& command) {
  const std::uint32_t before = state_.want();
  state_.want_override = command.want;
  const std::uint32_t after = state_.want();
  if (state_.is_dynamic()) {  // rescale does it
    publish(Happening::scaled, command.want.value_or(after));
    return;
  }
  grow(after);
  if (after > before) state_.was_full = false;
  for (std::uint32_t slot = std::max(before, after); slot-- > std::min(before, after);) {
    if (slot < state_.slots.size()) mark(slot);
  }
  publish(Happening::scaled, after);
}

void Turn::apply(const ResetFailedCommand& command) {
  for_slots(command.slots, [this](std::uint32_t slot) { forgive(slot); });
  if (!command.slots.empty()) return;
  reset_breaker();
  state_.failed.reset();
  if (!std::exchange(state_.rollout.failed, false) || state_.rollout.active) return;
  queue_outdated();  // only where a failed roll-out had nothing to go back to
}

// A thaw is told to every process, also when the pool is not frozen: it repairs.
void Turn::apply(const FreezeCommand& command) {
  if (state_.stopped || (command.frozen && state_.frozen_since)) return;
  if (command.frozen) state_.frozen_since = now_;
  for (std::uint32_t number = 0; number < state_.slots.size(); ++number) {
    for (Process& process : state_.slots[number].processes) {
      if (command.frozen) {
        freeze(number, process);
      } else if (process.frozen) {
        thaw(number, process);
      } else if (is_running(process)) {
        act(FreezeAction{key_of(number, process), false});
      }
    }
    mark(number);
  }
  if (command.frozen) {
    publish(Happening::frozen);
  } else if (state_.frozen_since) {
    state_.frozen_since.reset();
    publish(Happening::thawed);
  }
}

}  // namespace mtd::model
