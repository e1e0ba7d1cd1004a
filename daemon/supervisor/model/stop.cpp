// Ending processes: signal, deadline, SIGKILL to the tree, grace, stuck. Whatever the reason, this
// is the only way a process is ended.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {
namespace {

constexpr int kSigKill = 9;

}  // namespace

// A stop without steps is one of one step.
config::StopStep step_of(const config::StopSpec& stop, std::uint32_t step) {
  if (stop.steps.empty()) return {stop.signal, stop.timeout};
  return stop.steps[std::min<std::size_t>(step, stop.steps.size() - 1)];
}

void Turn::begin_stop(std::uint32_t slot, Process& process, ExitCause cause) {
  if (auto* requested = std::get_if<Requested>(&process.state)) {
    if (kSeededFault == SeededFault::signal_before_spawned) {
      kill(slot, process, cause);
      return;
    }
    if (requested->cancelled) return;
    requested->cancelled = cause;
    mark(slot);
    return;
  }
  if (is_kept(process)) {
    kill_left_overs(slot, process);
    return;
  }
  if (!is_serving(process)) return;
  thaw(slot, process);
  const config::StopStep step = step_of(state_.spec.stop, 0);
  if (is<Launching>(process) || step.timeout.is_zero() || step.signal.value == kSigKill) {
    kill(slot, process, cause);
    return;
  }
  process.watch = {};
  take_step(slot, process, Stopping{cause, Instant::never(), 0, false});
}

// What hangs is asked by SIGABRT alone.
bool Turn::asks_by_command(const Stopping& stopping) const {
  return stopping.step == 0 && stopping.cause != ExitCause::watchdog &&
         !state_.spec.stop.command.command.empty();
}

// Sends the signal of a step, or asks by the command; its deadline begins now.
void Turn::take_step(std::uint32_t slot, Process& process, Stopping next) {
  const config::StopStep step = step_of(state_.spec.stop, next.step);
  if (asks_by_command(next)) {
    act(StopCommandAction{key_of(slot, process)});
    publish(Happening::stop_command, slot, process);
  } else {
    act(SignalAction{key_of(slot, process), step.signal.value, state_.spec.stop.scope});
    publish(Happening::signalled, slot, process, static_cast<std::uint64_t>(step.signal.value));
  }
  const bool timed = kSeededFault != SeededFault::stop_without_deadline && !next.drain;
  next.deadline = timed ? now_ + step.timeout : Instant::never();
  process.state = next;
  mark(slot);
}

// The deadline stands: a command that took long has used up a part of the worker's time.
void Turn::apply(const StopCommandFailed& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  const auto* stopping = std::get_if<Stopping>(&process->state);
  if (stopping == nullptr || stopping->step != 0 || stopping->cause == ExitCause::watchdog) return;
  if (kSeededFault == SeededFault::failed_command_ignored) return;
  const int signal = step_of(state_.spec.stop, 0).signal.value;
  act(SignalAction{fact.key, signal, state_.spec.stop.scope});
  publish(Happening::signalled, fact.key.slot, *process, static_cast<std::uint64_t>(signal));
  touch(fact.key.slot);
}

// The deadline of a step has come: the next one, or KILL.
void Turn::end_step(std::uint32_t slot, Process& process) {
  Stopping next = std::get<Stopping>(process.state);
  const bool last =
      next.cause == ExitCause::watchdog || next.step + 1U >= state_.spec.stop.steps.size();
  if (!last && kSeededFault != SeededFault::steps_left_out) {
    ++next.step;
    take_step(slot, process, next);
    return;
  }
  const bool by_command = next.cause == ExitCause::stop;
  kill(slot, process, by_command ? ExitCause::stop_timeout : next.cause);
}

// By command, with all the time it needs; one that has begun to stop gets it, too.
void Turn::drain(std::uint32_t slot, Process& process) {
  if (is_serving(process) && !is<Requested>(process)) begin_stop(slot, process, ExitCause::stop);
  auto* stopping = std::get_if<Stopping>(&process.state);
  if (stopping == nullptr || stopping->cause != ExitCause::stop) return;
  stopping->drain = true;
  stopping->deadline = Instant::never();
  mark(slot);
}

// The patience is over: the step it is in gets its time from now.
void Turn::end_drain(std::uint32_t slot, Process& process) {
  auto* stopping = std::get_if<Stopping>(&process.state);
  if (stopping == nullptr || !stopping->drain) return;
  stopping->drain = false;
  stopping->deadline = now_ + step_of(state_.spec.stop, stopping->step).timeout;
  mark(slot);
}

void Turn::stop_now(std::uint32_t slot, Process& process, ExitCause cause) {
  if (const auto* stopping = std::get_if<Stopping>(&process.state)) {
    kill(slot, process, stopping->cause);
    return;
  }
  if (const auto* emptying = std::get_if<Emptying>(&process.state)) {
    const bool spared =
        emptying->phase == EmptyingPhase::waiting || emptying->phase == EmptyingPhase::kept;
    if (spared) kill_left_overs(slot, process);
    return;
  }
  if (is_serving(process) && !is<Requested>(process)) {
    thaw(slot, process);
    kill(slot, process, cause);
    return;
  }
  begin_stop(slot, process, cause);
}

void Turn::kill(std::uint32_t slot, Process& process, ExitCause cause) {
  act(KillTreeAction{key_of(slot, process)});
  publish(Happening::signalled, slot, process, kSigKill);
  process.watch = {};
  process.state = Killing{cause, now_ + kKillGrace};
  mark(slot);
}

void Turn::kill_left_overs(std::uint32_t slot, Process& process) {
  auto& emptying = std::get<Emptying>(process.state);
  act(KillTreeAction{key_of(slot, process)});
  publish(Happening::tree_killed, slot, process);
  emptying.phase = EmptyingPhase::killed;
  emptying.deadline = now_ + kKillGrace;
  mark(slot);
}

// The deadline of its state has come.
void Turn::expire(std::uint32_t slot, Process& process) {
  if (is<Launching>(process)) {
    kill(slot, process, ExitCause::start_timeout);
  } else if (is<Warming>(process)) {
    begin_stop(slot, process, ExitCause::start_timeout);
  } else if (const auto* draining = std::get_if<Draining>(&process.state)) {
    begin_stop(slot, process, draining->cause);
  } else if (is<Stopping>(process)) {
    end_step(slot, process);
  } else if (const auto* killing = std::get_if<Killing>(&process.state)) {
    process.state = Stuck{killing->cause};
    publish(Happening::stuck, slot, process);
  } else if (auto* emptying = std::get_if<Emptying>(&process.state)) {
    if (emptying->phase == EmptyingPhase::waiting) {
      if (kSeededFault == SeededFault::left_over_survives_timeout) {
        emptying->deadline = Instant::never();
        return;
      }
      kill_left_overs(slot, process);
    } else {
      emptying->phase = EmptyingPhase::stuck;
      emptying->deadline = Instant::never();
      publish(Happening::stuck, slot, process);
    }
  }
}

void Turn::freeze(std::uint32_t slot, Process& process) {
  if (process.frozen || !is_running(process)) return;
  process.frozen = true;
  act(FreezeAction{key_of(slot, process), true});
  mark(slot);
}

// Its deadlines go on where they stood.
void Turn::thaw(std::uint32_t slot, Process& process) {
  if (!process.frozen) return;
  process.frozen = false;
  if (kSeededFault == SeededFault::thaw_forgotten) return;
  act(FreezeAction{key_of(slot, process), false});
  const Instant from = std::max(process.started, state_.frozen_since.value_or(now_));
  shift_deadlines(process, now_.since(from));
  mark(slot);
}

}  // namespace mtd::model
