// What follows from an exit: it is recorded and published once; the left-overs of its tree are
// dealt with; the slot learns what comes next. The judgement itself is exits.cpp.
//
// A replacement waits until the tree is empty (in the common case that is told in the same turn),
// but where `overlap` allows two processes no longer than kKillGrace. With orphans: keep it does
// not wait.
#include <algorithm>

#include "daemon/supervisor/model/backoff.h"
#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {
namespace {

// How much an end of a process of the new revision weighs against a roll-out. Refusals that heal:
// nothing.
std::uint32_t weight_of(const ExitRecord& exit, Verdict verdict) {
  switch (verdict) {
    case Verdict::planned:
    case Verdict::clean:
    case Verdict::clean_early:
      return 0;
    case Verdict::crash:
      return exit.cause == ExitCause::start_timeout ? kRolloutFailures : 1;
    case Verdict::spawn_failed:
      return is_permanent(exit.stage, exit.error) ? 1 : 0;
    case Verdict::start_failed:
      return 1;
  }
  return 0;
}

// How long it served; a program that never became ready had no stable run.
Duration run_of(const Process& process, ExitCause cause, Instant now) {
  const bool served = !is<Requested>(process) && !is<Launching>(process) && !is<Warming>(process);
  return served && cause != ExitCause::start_timeout ? now.since(process.started) : Duration();
}

bool is_ended_on_purpose(const Process& process) {
  const auto ending = ending_cause(process);
  return ending && !is_fault(*ending);
}

}  // namespace

void Turn::apply(const SpawnRefused& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (!is<Requested>(*process) && !is<Launching>(*process)) {
    ++state_.stale_facts;
    return;
  }
  const std::uint32_t slot = fact.key.slot;
  const bool cancelled = is_ended_on_purpose(*process);
  Exited exit;
  exit.key = fact.key;
  exit.kind = ReportKind::setup_failed;
  exit.stage = fact.stage;
  exit.error = fact.error;
  ExitRecord told;
  told.cause = ExitCause::spawn_failed;
  told.stage = fact.stage;
  told.error = fact.error;
  told.incarnation = process->incarnation;
  told.at = now_;
  told.planned = cancelled;
  const Verdict verdict = cancelled ? Verdict::planned : Verdict::spawn_failed;
  const bool outdated = state_.is_outdated(*process);
  record(slot, *process, told, verdict);
  forget(slot, fact.key.incarnation);
  decide_sequel(slot, exit, verdict, Duration());
  if (!outdated) rollout_failure(slot, rollout_weight(slot, told, verdict));
}

void Turn::apply(const Exited& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (is<Emptying>(*process) && kSeededFault != SeededFault::exit_published_twice) {
    ++state_.stale_facts;
    return;
  }
  const std::uint32_t slot = fact.key.slot;
  const Judgement judgement = judge(*process, fact, state_.spec, now_);
  ExitRecord told;
  told.cause = judgement.cause;
  told.planned = judgement.verdict == Verdict::planned;
  told.wait_status = fact.wait_status;
  told.stage = fact.stage;
  told.error = fact.error;
  told.pid = process->pid;
  told.incarnation = process->incarnation;
  told.at = now_;
  const Duration run = run_of(*process, judgement.cause, now_);
  const bool outdated = state_.is_outdated(*process);
  record(slot, *process, told, judgement.verdict);
  await_tree(slot, *process, judgement.verdict, judgement.cause);
  decide_sequel(slot, fact, judgement.verdict, run);
  if (!outdated) rollout_failure(slot, rollout_weight(slot, told, judgement.verdict));
}

void Turn::apply(const TreeEmpty& fact) {
  const Process* process = process_of(fact.key);
  if (process == nullptr) return;
  if (!is<Emptying>(*process)) {
    ++state_.stale_facts;
    return;
  }
  forget(fact.key.slot, fact.key.incarnation);
}

// A slot that is given up and a breaker that is open have decided it.
std::uint32_t Turn::rollout_weight(std::uint32_t slot, const ExitRecord& exit,
                                   Verdict verdict) const {
  const std::uint32_t weight = weight_of(exit, verdict);
  const bool closed = std::holds_alternative<BreakerClosed>(state_.breaker);
  return weight > 0 && (rests_as<Failed>(state_.slots[slot]) || !closed) ? kRolloutFailures
                                                                         : weight;
}

// The books and the event; nothing is decided here.
void Turn::record(std::uint32_t number, const Process& process, const ExitRecord& exit,
                  Verdict verdict) {
  Slot& slot = state_.slots[number];
  slot.remember(exit);
  PublishAction told;
  told.happening =
      exit.cause == ExitCause::spawn_failed ? Happening::spawn_failed : Happening::exited;
  told.worker = key_of(number, process);
  told.pid = process.pid;
  told.exit = exit;
  act(told);
  switch (verdict) {
    case Verdict::planned:
      if (is_recycling(exit.cause)) {
        ++slot.recycled;
        ++state_.recycled;
      }
      if (kSeededFault == SeededFault::planned_counts_as_crash) count_crash(number);
      break;
    case Verdict::clean:
    case Verdict::clean_early:
    case Verdict::crash:
      break;
    case Verdict::spawn_failed:
    case Verdict::start_failed:
      ++slot.spawn_failures;
      ++state_.spawn_failures;
      break;
  }
}

void Turn::await_tree(std::uint32_t slot, Process& process, Verdict verdict, ExitCause cause) {
  const WorkerKey key = key_of(slot, process);
  mark(slot);
  if (verdict == Verdict::spawn_failed ||
      kSeededFault == SeededFault::no_wait_for_tree) {  // the program never ran
    forget(slot, process.incarnation);
    return;
  }
  Emptying next{EmptyingPhase::killed, cause, now_ + kKillGrace};
  if (const auto* stopping = std::get_if<Stopping>(&process.state)) {
    // The ABRT of a missed watchdog went to the main process alone.
    if (state_.spec.stop.scope == config::StopScope::tree && cause != ExitCause::watchdog) {
      // What a drained worker leaves behind gets the time that a stop would have given it.
      const Instant deadline = stopping->drain
                                   ? now_ + step_of(state_.spec.stop, stopping->step).timeout
                                   : stopping->deadline;
      next = {EmptyingPhase::waiting, cause, deadline};
    }
  } else if (verdict != Verdict::planned && is_serving(process) &&
             state_.spec.orphans == config::OrphanPolicy::keep && state_.wants(slot)) {
    next = {EmptyingPhase::kept, cause, Instant::never()};
  }
  process.frozen = false;
  process.watch = {};
  process.state = next;
  if (next.phase == EmptyingPhase::killed) act(KillTreeAction{key});
  act(WatchTreeAction{key});
  limit_kept(slot);
}

void Turn::forget(std::uint32_t slot, std::uint64_t incarnation) {
  act(ForgetAction{{slot, incarnation}});
  state_.slots[slot].erase(incarnation);
  if (state_.slots[slot].processes.empty() && !state_.wants(slot)) {
    publish_rest(Happening::stopped, slot);
  }
  mark(slot);
}

void Turn::decide_sequel(std::uint32_t number, const Exited& exit, Verdict verdict, Duration run) {
  Slot& slot = state_.slots[number];
  if (verdict == Verdict::planned || !state_.wants(number)) return;
  if (verdict == Verdict::clean && slot.current() == nullptr && state_.is_dynamic() &&
      state_.want() > state_.needed()) {
    park(number);  // it has gone by itself, and nobody needs another one
    tell_shrunk();
    return;
  }
  const Sequel sequel = sequel_of(exit, verdict, state_.spec);
  const bool ran = verdict != Verdict::spawn_failed && verdict != Verdict::start_failed;
  const bool superseded = slot.current() != nullptr;  // a newer one stands in the slot already
  if (ran && sequel == Sequel::restart) {
    ++slot.restarts;
    ++state_.restarts;
  }
  const bool stable = ran && run >= state_.spec.backoff.reset_after;
  if (verdict == Verdict::crash) count_crash(number);
  if (superseded) return;
  if (sequel == Sequel::completed) {
    slot.rest = Completed{};
    publish_rest(Happening::completed, number);
    return;
  }
  if (sequel == Sequel::failed || std::holds_alternative<BreakerTripped>(state_.breaker)) {
    slot.rest = Failed{};
    publish_rest(Happening::failed, number);
    return;
  }
  if (!ran) {
    back_off(number,
             spawn_delay(state_.spec.backoff, exit.stage, exit.error, slot.spawn_streak, entropy_));
    if (slot.spawn_streak < 64) ++slot.spawn_streak;
    return;
  }
  if (stable) slot.crash_streak = 0;
  if (stable || verdict == Verdict::clean) {
    if (verdict == Verdict::clean) {
      slot.rest = Idle{};
    } else {
      back_off(number, Duration());
    }
    return;
  }
  back_off(number, crash_delay(state_.spec.backoff, slot.crash_streak, entropy_));
  if (slot.crash_streak < 64) ++slot.crash_streak;
}

// Also for a delay of nothing: the slot then waits for the breaker only.
void Turn::back_off(std::uint32_t slot, Duration delay) {
  state_.slots[slot].rest = BackingOff{now_ + delay};
  const auto* open = std::get_if<BreakerOpen>(&state_.breaker);
  const Duration told = open != nullptr ? std::max(delay, open->retry_at.since(now_)) : delay;
  if (!told.is_zero()) publish_rest(Happening::backoff, slot, told);
}

// Left-overs that may live are bounded: the oldest beyond kMaxKept are killed.
void Turn::limit_kept(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  std::size_t kept = 0;
  for (auto it = slot.processes.rbegin(); it != slot.processes.rend(); ++it) {
    if (is_kept(*it) && ++kept > kMaxKept) kill_left_overs(number, *it);
  }
}

}  // namespace mtd::model
