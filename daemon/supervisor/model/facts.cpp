// What the keeper and the workers tell, exits excepted (exits_apply.cpp).
//
// The keeper tells whole entries, so a later fact may be the first one that comes: Executed implies
// Spawned, READY=1 and STOPPING=1 imply Executed. A fact a process is past is no error and changes
// nothing.
#include <algorithm>
#include <utility>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::apply(const Spawned& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (fact.pid != 0 && std::exchange(process->pid, fact.pid) != fact.pid) touch(fact.key.slot);
  if (is<Requested>(*process)) become_launching(fact.key.slot, *process);
}

void Turn::become_launching(std::uint32_t slot, Process& process) {
  const std::optional<ExitCause> cancelled = std::get<Requested>(process.state).cancelled;
  process.state = Launching{now_ + state_.spec.start_timeout};
  publish(Happening::spawned, slot, process);
  if (cancelled) kill(slot, process, *cancelled);
  mark(slot);
}

void Turn::apply(const Executed& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  const std::uint32_t slot = fact.key.slot;
  if (is<Requested>(*process)) become_launching(slot, *process);
  const auto* launching = std::get_if<Launching>(&process->state);
  if (launching == nullptr) return;
  const Instant deadline = launching->deadline;
  process->started = now_;
  state_.slots[slot].spawn_streak = 0;
  publish(Happening::executed, slot, *process);
  process->state = Warming{deadline};
  limit_life(*process);
  watch_start(*process);
  if (state_.spec.ready == config::ReadyMode::exec) become_up(slot, *process);
  if (state_.frozen_since) freeze(slot, *process);
  mark(slot);
}

void Turn::become_up(std::uint32_t slot, Process& process) {
  if (!is_started(process)) {
    watch_service(process);
    limit_idleness(process);
  }
  process.state = Up{now_};
  if (state_.scaling) state_.scaling->demanded = false;
  publish(Happening::ready, slot, process);
  enqueue_if_due(slot, process);
  mark(slot);
}

void Turn::apply(const NotifiedReady& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (state_.spec.ready !=
      (fact.by_descriptor ? config::ReadyMode::fd : config::ReadyMode::notify)) {
    return;
  }
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  if (is<Warming>(*process)) become_up(fact.key.slot, *process);
}

void Turn::apply(const NotifiedStopping& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  if (!is_running(*process)) return;
  const Instant deadline = now_ + step_of(state_.spec.stop, 0).timeout;
  if (auto* draining = std::get_if<Draining>(&process->state)) {
    draining->deadline = std::min(draining->deadline, deadline);
  } else {
    process->state = Draining{ExitCause::recycle_self, deadline};
    publish(Happening::recycling, fact.key.slot, *process);
  }
  mark(fact.key.slot);
}

// Later is granted, sooner is not; what mtd ends for a fault gets no more time.
void Turn::apply(const NotifiedExtension& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  const Instant until = now_ + fact.by;
  if (auto* warming = std::get_if<Warming>(&process->state)) {
    warming->deadline = std::max(warming->deadline, until);
  } else if (auto* draining = std::get_if<Draining>(&process->state)) {
    if (!draining->deadline.is_never()) draining->deadline = std::max(draining->deadline, until);
  } else if (auto* stopping = std::get_if<Stopping>(&process->state)) {
    if (!is_fault(stopping->cause)) stopping->deadline = std::max(stopping->deadline, until);
  }
  mark(fact.key.slot);
}

void Turn::apply(const Condemned& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr || !is_serving(*process) || is<Requested>(*process)) return;
  thaw(fact.key.slot, *process);
  kill(fact.key.slot, *process, fact.cause);
}

}  // namespace mtd::model
