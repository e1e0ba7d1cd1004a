// What the keeper and the workers tell, exits excepted (exits_apply.cpp).
//
// The keeper tells whole entries, so a later fact may be the first one that comes: Executed implies
// Spawned, READY=1 and STOPPING=1 imply Executed. A fact a process is past is no error and changes
// nothing.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::apply(const Spawned& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (fact.pid != 0) process->pid = fact.pid;
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
  if (state_.spec.ready == config::ReadyMode::exec) become_up(slot, *process);
  if (state_.frozen_since) freeze(slot, *process);
  mark(slot);
}

void Turn::become_up(std::uint32_t slot, Process& process) {
  process.state = Up{now_};
  publish(Happening::ready, slot, process);
  if (process.task_limit != 0 && process.tasks >= process.task_limit) {
    state_.queues.recycle.insert(slot);
  }
  mark(slot);
}

void Turn::apply(const NotifiedReady& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr || state_.spec.ready != config::ReadyMode::notify) return;
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  if (is<Warming>(*process)) become_up(fact.key.slot, *process);
}

void Turn::apply(const NotifiedStopping& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  if (!is_running(*process)) return;
  const Instant deadline = now_ + state_.spec.stop.timeout;
  if (auto* draining = std::get_if<Draining>(&process->state)) {
    draining->deadline = std::min(draining->deadline, deadline);
  } else {
    process->state = Draining{ExitCause::recycle_self, deadline};
    publish(Happening::recycling, fact.key.slot, *process);
  }
  mark(fact.key.slot);
}

void Turn::apply(const TasksDone& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  process->tasks += std::min(fact.count, ~std::uint64_t{0} - process->tasks);
  if (process->task_limit == 0 || process->tasks < process->task_limit) return;
  if (is<Up>(*process)) state_.queues.recycle.insert(fact.key.slot);
}

namespace {

ProcessState state_of(const Adopted& fact, const Pool::State& pool, Instant now) {
  const config::PoolSpec& spec = pool.spec;
  if (fact.stop_sent) {
    const bool unwanted = pool.stopped || fact.key.slot >= pool.want();
    const ExitCause cause = !unwanted      ? ExitCause::restart
                            : pool.stopped ? ExitCause::stop
                                           : ExitCause::scale_down;
    return Stopping{cause, now + spec.stop.timeout};
  }
  if (!fact.executed) return Launching{now + spec.start_timeout};
  if (fact.was_ready || spec.ready == config::ReadyMode::exec) return Up{fact.started};
  return Warming{now + spec.start_timeout};
}

// Two serving processes in one slot: the newest stays, the others are its predecessors.
void retire_older(Slot& slot) {
  bool newest = true;
  for (auto it = slot.processes.rbegin(); it != slot.processes.rend(); ++it) {
    if (!is_current(*it)) continue;
    if (!newest) it->state = Draining{ExitCause::restart, Instant::never()};
    newest = false;
  }
}

}  // namespace

void Turn::apply(const Adopted& fact) {
  if (state_.awake) {
    ++state_.stale_facts;
    return;
  }
  grow(fact.key.slot + 1);
  Slot& slot = state_.slots[fact.key.slot];
  if (slot.find(fact.key.incarnation) != nullptr) return;
  Process process;
  process.incarnation = fact.key.incarnation;
  process.revision = fact.revision;
  process.fingerprint = fact.fingerprint;
  if (fact.fingerprint == 0) {
    process.fingerprint = fact.revision == state_.revision ? state_.spec.spawn_fingerprint
                                                           : ~state_.spec.spawn_fingerprint;
  }
  process.started = fact.started;
  process.tasks = fact.tasks;
  process.task_limit = fact.task_limit != 0 ? fact.task_limit : draw_task_limit();
  process.pid = fact.pid;
  process.frozen = state_.frozen_since && fact.executed && !fact.stop_sent;
  process.state = state_of(fact, state_, now_);
  const auto after =
      std::find_if(slot.processes.begin(), slot.processes.end(),
                   [&](const Process& p) { return p.incarnation > fact.key.incarnation; });
  slot.processes.insert(after, process);
  slot.incarnation = std::max(slot.incarnation, fact.key.incarnation);
  retire_older(slot);
  if (is<Up>(process) && process.task_limit != 0 && process.tasks >= process.task_limit) {
    state_.queues.recycle.insert(fact.key.slot);
  }
  tally(fact.key.slot);
}

}  // namespace mtd::model
