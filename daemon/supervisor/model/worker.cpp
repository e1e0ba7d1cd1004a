#include "daemon/supervisor/model/worker.h"

namespace mtd::model {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

bool is_serving(const Process& process) {
  return is<Requested>(process) || is<Launching>(process) || is<Warming>(process) ||
         is_started(process) || is<Draining>(process);
}

bool is_current(const Process& process) {
  if (const auto* requested = std::get_if<Requested>(&process.state)) return !requested->cancelled;
  return is<Launching>(process) || is<Warming>(process) || is_started(process);
}

bool is_started(const Process& process) {
  return is<Up>(process) || is<Unready>(process);
}

bool is_kept(const Process& process) {
  const auto* emptying = std::get_if<Emptying>(&process.state);
  return emptying != nullptr && emptying->phase == EmptyingPhase::kept;
}

bool is_running(const Process& process) {
  return is<Warming>(process) || is_started(process) || is<Draining>(process);
}

std::optional<ExitCause> ending_cause(const Process& process) {
  using Cause = std::optional<ExitCause>;
  return std::visit(
      Overloaded{[](const Requested& s) { return s.cancelled; },
                 [](const Launching&) { return Cause(); }, [](const Warming&) { return Cause(); },
                 [](const Up&) { return Cause(); }, [](const Unready&) { return Cause(); },
                 [](const Draining& s) { return Cause(s.cause); },
                 [](const Stopping& s) { return Cause(s.cause); },
                 [](const Killing& s) { return Cause(s.cause); },
                 [](const Stuck& s) { return Cause(s.cause); },
                 [](const Emptying& s) { return Cause(s.cause); }},
      process.state);
}

Instant deadline_of(const Process& process) {
  if (process.frozen) return Instant::never();
  return std::visit(Overloaded{[](const Requested&) { return Instant::never(); },
                               [](const Launching& s) { return s.deadline; },
                               [](const Warming& s) { return s.deadline; },
                               [](const Up&) { return Instant::never(); },
                               [](const Unready&) { return Instant::never(); },
                               [](const Draining& s) { return s.deadline; },
                               [](const Stopping& s) { return s.deadline; },
                               [](const Killing& s) { return s.deadline; },
                               [](const Stuck&) { return Instant::never(); },
                               [](const Emptying& s) { return s.deadline; }},
                    process.state);
}

void shift_deadlines(Process& process, Duration by) {
  std::visit(Overloaded{[](Requested&) {}, [&](Launching& s) { s.deadline = s.deadline + by; },
                        [&](Warming& s) { s.deadline = s.deadline + by; },
                        [&](Up& s) { s.since = s.since + by; },
                        [&](Unready& s) { s.since = s.since + by; },
                        [&](Draining& s) { s.deadline = s.deadline + by; },
                        [&](Stopping& s) { s.deadline = s.deadline + by; },
                        [&](Killing& s) { s.deadline = s.deadline + by; }, [](Stuck&) {},
                        [&](Emptying& s) { s.deadline = s.deadline + by; }},
             process.state);
  Watch& watch = process.watch;
  for (Instant* at :
       {&watch.alive_until, &watch.live.at, &watch.ready.at, &process.limits.idle_until})
    *at = *at + by;
}

WorkerState printed_state(const Process& process) {
  if (process.frozen) return WorkerState::frozen;
  return std::visit(Overloaded{[](const Requested&) { return WorkerState::starting; },
                               [](const Launching&) { return WorkerState::starting; },
                               [](const Warming&) { return WorkerState::starting; },
                               [&](const Up&) {
                                 switch (process.activity) {
                                   case Activity::unknown:
                                     return WorkerState::ready;
                                   case Activity::idle:
                                     return WorkerState::idle;
                                   case Activity::busy:
                                     return WorkerState::busy;
                                 }
                                 return WorkerState::ready;
                               },
                               [](const Unready&) { return WorkerState::unready; },
                               [](const Draining&) { return WorkerState::draining; },
                               [](const Stopping& s) {
                                 return s.drain ? WorkerState::draining : WorkerState::stopping;
                               },
                               [](const Killing&) { return WorkerState::killing; },
                               [](const Stuck&) { return WorkerState::stuck; },
                               [](const Emptying& s) {
                                 switch (s.phase) {
                                   case EmptyingPhase::waiting:
                                     return WorkerState::stopping;
                                   case EmptyingPhase::killed:
                                     return WorkerState::killing;
                                   case EmptyingPhase::stuck:
                                     return WorkerState::stuck;
                                   case EmptyingPhase::kept:
                                     return WorkerState::draining;
                                 }
                                 return WorkerState::stuck;
                               }},
                    process.state);
}

bool is_replacement(ExitCause cause) {
  switch (cause) {
    case ExitCause::recycle_max_tasks:
    case ExitCause::recycle_max_rss:
    case ExitCause::recycle_max_lifetime:
    case ExitCause::recycle_idle:
    case ExitCause::recycle_self:
    case ExitCause::reload:
    case ExitCause::restart:
      return true;
    case ExitCause::exit:
    case ExitCause::signal:
    case ExitCause::core:
    case ExitCause::oom:
    case ExitCause::start_timeout:
    case ExitCause::stop:
    case ExitCause::stop_timeout:
    case ExitCause::scale_down:
    case ExitCause::left_over:
    case ExitCause::spawn_failed:
    case ExitCause::task_timeout:
    case ExitCause::task_protocol:
    case ExitCause::start_failed:
    case ExitCause::unknown:
    case ExitCause::watchdog:
    case ExitCause::probe:
      return false;
  }
  return false;
}

}  // namespace mtd::model
