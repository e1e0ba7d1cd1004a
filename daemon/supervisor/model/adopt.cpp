// A new life: what the keeper has is brought together with what the pool remembers. The keeper is
// right about which processes exist, the memory about what was decided.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

namespace {

ProcessState state_of(const Adopted& fact, const Pool::State& pool, Instant now) {
  const config::PoolSpec& spec = pool.spec;
  if (fact.stop_sent) {
    const bool unwanted = pool.stopped || !pool.has_place(fact.key.slot);
    const ExitCause cause = !unwanted      ? ExitCause::restart
                            : pool.stopped ? ExitCause::stop
                                           : ExitCause::scale_down;
    return Stopping{cause, now + step_of(spec.stop, 0).timeout, 0, false};
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
  const bool unheard = fact.key.slot >= state_.slots.size();
  grow(fact.key.slot + 1);
  if (unheard && state_.is_dynamic()) unpark(fact.key.slot);
  Slot& slot = state_.slots[fact.key.slot];
  if (Process* known = slot.find(fact.key.incarnation)) {
    if (known->expected) confirm(fact.key.slot, *known, fact);
    return;
  }
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
  process.task_limit = fact.task_limit != 0 ? fact.task_limit : draw(state_.spec.recycle.max_tasks);
  process.pid = fact.pid;
  process.frozen = state_.frozen_since && fact.executed && !fact.stop_sent;
  process.state = state_of(fact, state_, now_);
  take_up(process);
  const auto after =
      std::find_if(slot.processes.begin(), slot.processes.end(),
                   [&](const Process& p) { return p.incarnation > fact.key.incarnation; });
  slot.processes.insert(after, process);
  slot.incarnation = std::max(slot.incarnation, fact.key.incarnation);
  retire_older(slot);
  touch(fact.key.slot);
  enqueue_if_due(fact.key.slot, process);
  tally(fact.key.slot);
}

// Of a process that is not remembered all that is watched begins anew.
void Turn::take_up(Process& process) {
  if (is_running(process)) limit_life(process);
  if (is<Warming>(process)) watch_start(process);
  if (!is_started(process)) return;
  watch_service(process);
  limit_idleness(process);
}

// It is where it was. Between decision and deed the earlier life may have ended: what can be done
// twice without harm is done again; the stop signal only where the keeper has not sent it.
void Turn::confirm(std::uint32_t slot, Process& process, const Adopted& fact) {
  const WorkerKey key = fact.key;
  const auto* emptying = std::get_if<Emptying>(&process.state);
  process.expected = false;
  if (fact.pid != 0 && process.pid != fact.pid) {  // it was told, and not written down yet
    process.pid = fact.pid;
    touch(slot);
  }
  if (kSeededFault == SeededFault::deadline_begins_anew) {
    if (auto* stopping = std::get_if<Stopping>(&process.state))
      stopping->deadline = now_ + step_of(state_.spec.stop, stopping->step).timeout;
  }
  if (emptying != nullptr && !fact.exited) {  // it lives: the memory is of something else
    process.state = state_of(fact, state_, now_);
    touch(slot);
  } else if (emptying != nullptr) {
    if (emptying->phase == EmptyingPhase::killed) act(KillTreeAction{key});
    act(WatchTreeAction{key});
  } else if (is<Killing>(process)) {
    act(KillTreeAction{key});
  } else if (const auto* stopping = std::get_if<Stopping>(&process.state);
             stopping != nullptr && !fact.stop_sent && !fact.exited) {
    const config::StopStep step = step_of(state_.spec.stop, stopping->step);
    if (asks_by_command(*stopping)) {
      act(StopCommandAction{key});
    } else {
      act(SignalAction{key, step.signal.value, state_.spec.stop.scope});
    }
  } else if (process.frozen && !fact.exited) {
    act(FreezeAction{key, true});
  }
  if (!fact.exited) ask_again(slot, process);
  tally(slot);
}

// Who asked before died before the answer came.
void Turn::ask_again(std::uint32_t slot, Process& process) {
  for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready}) {
    const bool is_armed = !process.watch.of(role).at.is_never();
    // A reload that an earlier life did not bring to its end.
    if (is_started(process) && is_armed != probe_spec(role).is_set()) watch_probe(process, role);
    if (process.watch.of(role).under_way) act(ProbeAction{key_of(slot, process), role});
  }
}

// Remembered, and the keeper does not have it.
void Turn::drop_vanished() {
  for (std::uint32_t number = 0; number < state_.slots.size(); ++number) {
    std::vector<Process> gone;
    for (const Process& process : state_.slots[number].processes) {
      if (process.expected) gone.push_back(process);
    }
    for (const Process& process : gone)
      vanish(number, process);
  }
}

void Turn::vanish(std::uint32_t slot, const Process& process) {
  state_.slots[slot].erase(process.incarnation);
  mark(slot);
  // A request that did not reach the keeper is none; an end that was told is not told again.
  if (!is<Requested>(process) && !is<Emptying>(process)) {
    ExitRecord told;
    told.cause = ExitCause::unknown;
    told.planned = ending_cause(process).has_value();
    told.pid = process.pid;
    told.incarnation = process.incarnation;
    told.at = now_;
    record(slot, process, told, told.planned ? Verdict::planned : Verdict::clean);
    if (!told.planned) {
      ++state_.slots[slot].restarts;
      ++state_.restarts;
    }
  }
  if (state_.slots[slot].processes.empty() && !state_.wants(slot)) {
    publish_rest(Happening::stopped, slot);
  }
}

}  // namespace mtd::model
