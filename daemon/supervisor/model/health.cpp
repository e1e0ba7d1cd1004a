// What a program that runs has to do so that it counts as well: answer probes, say WATCHDOG=1.
//
// Probes are made one by one, a period apart; a worker's first one comes at a random moment within
// its first period, so that workers started together are not asked together. While a worker is
// being started its ready probe is made often at first. A live probe that failed `threshold` times
// in a row ends the worker; a ready probe takes it out of those that are ready. A probe that could
// not be made says nothing.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {
namespace {

constexpr int kSigAbrt = 6;
// Whoever looks later than this has not listened in time either: the worker gets another period.
constexpr Duration kListeningDelay = Duration::seconds(1);
// For a core dump, where stop.timeout is infinite.
constexpr Duration kLongestAbort = Duration::seconds(90);
// While a worker is being started: after 50 ms, then doubling up to the period.
constexpr Duration kFirstQuestion = Duration::milliseconds(50);
constexpr std::uint8_t kMostFailures = 250;

bool is_guarded(const Process& process) {
  const auto* draining = std::get_if<Draining>(&process.state);
  return is_started(process) || (draining != nullptr && draining->deadline.is_never());
}

}  // namespace

bool is_asked(const Process& process, ProbeRole role) {
  switch (role) {
    case ProbeRole::live:
      return is_guarded(process);
    case ProbeRole::ready:
      return is_started(process) || is<Warming>(process);
  }
  return false;
}

Instant next_watch(const Process& process) {
  Instant next = Instant::never();
  if (process.frozen) return next;
  if (is_guarded(process)) next = process.watch.alive_until;
  for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready}) {
    const ProbeTurn& turn = process.watch.of(role);
    if (is_asked(process, role) && !turn.under_way) next = std::min(next, turn.at);
  }
  return next;
}

// The program runs.
void Turn::watch_start(Process& process) {
  if (state_.spec.ready == config::ReadyMode::probe) process.watch.ready.at = now_ + kFirstQuestion;
}

// Its start is complete.
void Turn::watch_service(Process& process) {
  Watch& watch = process.watch;
  if (watch.alive_every.is_zero()) watch.alive_every = state_.spec.watchdog;
  if (!watch.alive_every.is_zero() && kSeededFault != SeededFault::watchdog_not_armed)
    watch.alive_until = now_ + watch.alive_every;
  for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready})
    watch_probe(process, role);
}

void Turn::watch_probe(Process& process, ProbeRole role) {
  const config::ProbeSpec& spec = probe_spec(role);
  ProbeTurn& turn = process.watch.of(role);
  turn = {};
  if (spec.is_set()) turn.at = now_ + spec.period.scaled_by(entropy_.fraction());
}

const config::ProbeSpec& Turn::probe_spec(ProbeRole role) const {
  return role == ProbeRole::live ? state_.spec.probes.live : state_.spec.probes.ready;
}

// Some of it may be due.
void Turn::look_after(std::uint32_t slot, Process& process) {
  if (next_watch(process) > now_) return;
  if (is_guarded(process) && process.watch.alive_until <= now_) miss_watchdog(slot, process);
  for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready})
    ask(slot, process, role);
}

void Turn::ask(std::uint32_t slot, Process& process, ProbeRole role) {
  ProbeTurn& turn = process.watch.of(role);
  if (!is_asked(process, role) || turn.at > now_) return;
  if (turn.under_way && kSeededFault != SeededFault::probe_asked_twice) return;
  const Duration period = probe_spec(role).period;
  const bool starting = is<Warming>(process);
  const double doubling = static_cast<double>(1U << std::min<std::uint32_t>(turn.failures, 20));
  turn.at = now_ + (starting ? std::min(period, kFirstQuestion.scaled_by(2 * doubling)) : period);
  turn.under_way = true;
  act(ProbeAction{key_of(slot, process), role});
  touch(slot);
}

void Turn::apply(const Probed& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  ProbeTurn& turn = process->watch.of(fact.role);
  if (!turn.under_way) return;  // it is asked no more, or asked otherwise
  turn.under_way = false;
  turn.at = std::max(turn.at, now_);
  mark(fact.key.slot);
  // Who is suspended answers nobody.
  if (process->frozen || fact.outcome == ProbeOutcome::unknown) return;
  if (fact.outcome == ProbeOutcome::passed) {
    turn.failures = 0;
  } else if (turn.failures < kMostFailures) {
    ++turn.failures;
  }
  const bool failed = turn.failures >= probe_spec(fact.role).threshold;
  if (fact.role == ProbeRole::ready) {
    judge_readiness(fact.key.slot, *process, fact.outcome == ProbeOutcome::passed, failed);
  } else if (failed && is_guarded(*process)) {
    begin_stop(fact.key.slot, *process, ExitCause::probe);
  }
}

void Turn::judge_readiness(std::uint32_t slot, Process& process, bool passed, bool failed) {
  const bool waits = is<Warming>(process) && state_.spec.ready == config::ReadyMode::probe;
  if (passed && (waits || is<Unready>(process))) become_up(slot, process);
  if (!failed || !is<Up>(process)) return;
  process.state = Unready{now_};
  publish(Happening::unready, slot, process);
}

// A new configuration: what is asked otherwise begins anew. Who is not ready stays so until its
// probe passes, or there is none any more.
void Turn::retarget_probes(const config::ProbesSpec& before, Process& process) {
  for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready}) {
    const bool is_live = role == ProbeRole::live;
    if ((is_live ? before.live : before.ready) == probe_spec(role)) continue;
    if (is_started(process)) {
      watch_probe(process, role);
    } else if (is<Warming>(process) && !is_live) {
      process.watch.ready = {};
      watch_start(process);
    }
  }
  if (is<Unready>(process) && !probe_spec(ProbeRole::ready).is_set()) process.state = Up{now_};
}

void Turn::apply(const NotifiedAlive& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (fact.trigger) {
    if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
    if (is_running(*process)) give_up_hung(fact.key.slot, *process);
    return;
  }
  if (process->watch.alive_until.is_never() || !is_guarded(*process)) return;
  process->watch.alive_until = now_ + process->watch.alive_every;
  mark(fact.key.slot);
}

// Also before it is ready: then from its first moment on. What is ended keeps the time it has.
void Turn::apply(const WatchdogChanged& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (is<Requested>(*process) || is<Launching>(*process)) apply(Executed{fact.key});
  if (!is<Warming>(*process) && !is_guarded(*process)) return;
  process->watch.alive_every = fact.every;
  if (is_guarded(*process)) process->watch.alive_until = now_ + fact.every;
  mark(fact.key.slot);
}

void Turn::miss_watchdog(std::uint32_t slot, Process& process) {
  if (now_.since(process.watch.alive_until) <= kListeningDelay) {
    give_up_hung(slot, process);
    return;
  }
  process.watch.alive_until = now_ + process.watch.alive_every;
  touch(slot);
}

// ABRT to the main process alone: where it hangs shall be in its core dump.
void Turn::give_up_hung(std::uint32_t slot, Process& process) {
  thaw(slot, process);
  const Duration patience = std::min(state_.spec.stop.timeout, kLongestAbort);
  if (patience.is_zero()) {
    kill(slot, process, ExitCause::watchdog);
    return;
  }
  act(SignalAction{key_of(slot, process), kSigAbrt, config::StopScope::process});
  publish(Happening::signalled, slot, process, kSigAbrt);
  process.watch = {};
  process.state = Stopping{ExitCause::watchdog, now_ + patience};
  mark(slot);
}

}  // namespace mtd::model
