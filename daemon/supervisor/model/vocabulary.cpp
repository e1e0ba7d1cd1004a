#include "daemon/supervisor/model/vocabulary.h"

#include <array>

namespace mtd::model {
namespace {

// The rows stand in the order of the enumerators, which unit tests check: a lookup is an index.
constexpr std::array kWorkerWords{
    Word<WorkerState>{WorkerState::starting, "starting", "being started, not ready yet"},
    Word<WorkerState>{WorkerState::ready, "ready", "serving"},
    Word<WorkerState>{WorkerState::unready, "unready", "lives, and its ready probe fails"},
    Word<WorkerState>{WorkerState::draining, "draining", "serving until its replacement is ready"},
    Word<WorkerState>{WorkerState::stopping, "stopping", "asked to end"},
    Word<WorkerState>{WorkerState::killing, "killing", "killed with its whole tree"},
    Word<WorkerState>{WorkerState::stuck, "stuck", "outlives SIGKILL in the kernel"},
    Word<WorkerState>{WorkerState::frozen, "frozen", "suspended by command"},
    Word<WorkerState>{WorkerState::backoff, "backoff", "waits before the next attempt"},
    Word<WorkerState>{WorkerState::failed, "failed", "not tried again until told to"},
    Word<WorkerState>{WorkerState::stopped, "stopped", "not wanted, and nothing of it lives"},
    Word<WorkerState>{WorkerState::completed, "completed", "ended well and is not restarted"},
    Word<WorkerState>{WorkerState::idle, "idle", "serving, and told that it waits for work"},
    Word<WorkerState>{WorkerState::busy, "busy", "serving, and told that it works"},
};

constexpr std::array kPoolWords{
    Word<PoolState>{PoolState::running, "running", "every wanted worker is ready"},
    Word<PoolState>{PoolState::starting, "starting", "workers are on their way up"},
    Word<PoolState>{PoolState::degraded, "degraded", "fewer workers are ready than wanted"},
    Word<PoolState>{PoolState::rolling, "rolling", "a new revision replaces workers one by one"},
    Word<PoolState>{PoolState::draining, "draining", "no worker is wanted, the last ones end"},
    Word<PoolState>{PoolState::stopping, "stopping", "stopped by command, processes still live"},
    Word<PoolState>{PoolState::stopped, "stopped", "stopped, and nothing of it lives"},
    Word<PoolState>{PoolState::completed, "completed", "every worker has done its work"},
    Word<PoolState>{PoolState::backoff, "backoff", "no worker is ready, the next attempt waits"},
    Word<PoolState>{PoolState::failed, "failed", "given up until reset-failed or start"},
    Word<PoolState>{PoolState::frozen, "frozen", "suspended by command"},
};

constexpr std::array kCauseWords{
    Word<ExitCause>{ExitCause::exit, "exit", "the program ended by itself"},
    Word<ExitCause>{ExitCause::signal, "signal", "killed by a signal that mtd did not send"},
    Word<ExitCause>{ExitCause::core, "core", "killed by a signal, with a core dump"},
    Word<ExitCause>{ExitCause::oom, "oom", "killed because memory ran out"},
    Word<ExitCause>{ExitCause::start_timeout, "start_timeout", "not ready within start_timeout"},
    Word<ExitCause>{ExitCause::stop, "stop", "stopped by command"},
    Word<ExitCause>{ExitCause::stop_timeout, "stop_timeout",
                    "stopped by command, killed at stop.timeout"},
    Word<ExitCause>{ExitCause::recycle_max_tasks, "recycle:max_tasks",
                    "recycled after its number of tasks"},
    Word<ExitCause>{ExitCause::recycle_self, "recycle:self", "announced its end with STOPPING=1"},
    Word<ExitCause>{ExitCause::reload, "reload", "replaced by a new revision"},
    Word<ExitCause>{ExitCause::restart, "restart", "restarted by command"},
    Word<ExitCause>{ExitCause::scale_down, "scale_down", "no longer wanted"},
    Word<ExitCause>{ExitCause::left_over, "left_over", "a descendant that outlived its worker"},
    Word<ExitCause>{ExitCause::spawn_failed, "spawn_failed", "never ran: stage and errno say why"},
    Word<ExitCause>{ExitCause::start_failed, "start_failed",
                    "died in the instant of exec, cause unknown"},
    Word<ExitCause>{ExitCause::unknown, "unknown", "not known"},
    Word<ExitCause>{ExitCause::watchdog, "watchdog", "did not say WATCHDOG=1 in time"},
    Word<ExitCause>{ExitCause::probe, "probe", "its live probe failed too often"},
    Word<ExitCause>{ExitCause::recycle_max_rss, "recycle:max_rss",
                    "recycled for the memory it used"},
    Word<ExitCause>{ExitCause::recycle_max_lifetime, "recycle:max_lifetime",
                    "recycled at the age it was to reach"},
    Word<ExitCause>{ExitCause::recycle_idle, "recycle:idle",
                    "recycled after a time without a task"},
    Word<ExitCause>{ExitCause::task_timeout, "task_timeout",
                    "killed because it went on with a task that it was to give up"},
    Word<ExitCause>{ExitCause::task_protocol, "task_protocol",
                    "killed because it does not keep to mtd-task/1"},
};

constexpr std::array kHappeningWords{
    Word<Happening>{Happening::spawned, "spawned", "a process was created"},
    Word<Happening>{Happening::executed, "executed", "its program runs"},
    Word<Happening>{Happening::ready, "ready", "it serves"},
    Word<Happening>{Happening::signalled, "signalled", "mtd sent a signal to end it"},
    Word<Happening>{Happening::exited, "exited", "it ended; last_exit says how"},
    Word<Happening>{Happening::spawn_failed, "spawn_failed", "a process could not be started"},
    Word<Happening>{Happening::stopped, "stopped",
                    "a worker or pool is stopped, nothing of it lives"},
    Word<Happening>{Happening::backoff, "backoff", "the next attempt waits"},
    Word<Happening>{Happening::failed, "failed", "given up until told otherwise"},
    Word<Happening>{Happening::completed, "completed", "ended well and is not restarted"},
    Word<Happening>{Happening::stuck, "stuck", "it outlives SIGKILL"},
    Word<Happening>{Happening::recycling, "recycling", "its replacement begins"},
    Word<Happening>{Happening::scaled, "scaled", "the number of workers was changed"},
    Word<Happening>{Happening::started, "started", "the pool was started by command"},
    Word<Happening>{Happening::stopping, "stopping", "the pool was stopped by command"},
    Word<Happening>{Happening::reloaded, "reloaded", "a configuration is applied in full"},
    Word<Happening>{Happening::restarting, "restarting", "the worker is being replaced"},
    Word<Happening>{Happening::breaker_opened, "breaker_opened",
                    "too many crashes: restarts pause"},
    Word<Happening>{Happening::breaker_half_open, "breaker_half_open", "one worker is tried"},
    Word<Happening>{Happening::breaker_closed, "breaker_closed", "restarts go on"},
    Word<Happening>{Happening::frozen, "frozen", "the pool was suspended"},
    Word<Happening>{Happening::thawed, "thawed", "the pool goes on"},
    Word<Happening>{Happening::tree_killed, "tree_killed", "left-over descendants were killed"},
    Word<Happening>{Happening::rollout_failed, "rollout_failed",
                    "a new revision does not come up; the one before is in force again"},
    Word<Happening>{Happening::rollout_paused, "rollout_paused", "no further worker is replaced"},
    Word<Happening>{Happening::rollout_resumed, "rollout_resumed", "the roll-out goes on"},
    Word<Happening>{Happening::rolled_back, "rolled_back",
                    "every worker runs the revision before again"},
    Word<Happening>{Happening::unready, "unready", "its ready probe fails"},
    Word<Happening>{Happening::draining, "draining",
                    "the pool was stopped by command, with all the time its workers need"},
    Word<Happening>{Happening::waiting, "waiting", "what the pool depends on is not there"},
    Word<Happening>{Happening::admitted, "admitted", "what the pool depends on is there"},
    Word<Happening>{Happening::grown, "grown", "more workers are busy: the pool gets more"},
    Word<Happening>{Happening::shrunk, "shrunk", "workers that were not needed for long end"},
    Word<Happening>{Happening::demanded, "demanded",
                    "a connection or a task waits and no worker runs"},
    Word<Happening>{Happening::held_back, "held_back",
                    "more workers are needed than the pool is given"},
    Word<Happening>{Happening::stop_command, "stop_command",
                    "mtd ran its pool's stop.command to end it"},
};

template <class Value, std::size_t N>
std::string_view lookup(const std::array<Word<Value>, N>& words, Value value) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? words[index].name : std::string_view("unknown");
}

template <class Value, std::size_t N>
Words<Value> all_of(const std::array<Word<Value>, N>& words) {
  return {words.data(), words.data() + N};
}

}  // namespace

Words<WorkerState> worker_states() {
  return all_of(kWorkerWords);
}
Words<PoolState> pool_states() {
  return all_of(kPoolWords);
}
Words<ExitCause> exit_causes() {
  return all_of(kCauseWords);
}
Words<Happening> happenings() {
  return all_of(kHappeningWords);
}

std::string_view name_of(WorkerState value) {
  return lookup(kWorkerWords, value);
}
std::string_view name_of(PoolState value) {
  return lookup(kPoolWords, value);
}
std::string_view name_of(ExitCause value) {
  return lookup(kCauseWords, value);
}
std::string_view name_of(Happening value) {
  return lookup(kHappeningWords, value);
}

bool is_planned(ExitCause cause) {
  switch (cause) {
    case ExitCause::stop:
    case ExitCause::stop_timeout:
    case ExitCause::recycle_max_tasks:
    case ExitCause::recycle_max_rss:
    case ExitCause::recycle_max_lifetime:
    case ExitCause::recycle_idle:
    case ExitCause::recycle_self:
    case ExitCause::reload:
    case ExitCause::restart:
    case ExitCause::scale_down:
    case ExitCause::task_timeout:
      return true;
    case ExitCause::exit:
    case ExitCause::signal:
    case ExitCause::core:
    case ExitCause::oom:
    case ExitCause::start_timeout:
    case ExitCause::left_over:
    case ExitCause::spawn_failed:
    case ExitCause::start_failed:
    case ExitCause::unknown:
    case ExitCause::watchdog:
    case ExitCause::probe:
    case ExitCause::task_protocol:
      return false;
  }
  return false;
}

bool is_recycling(ExitCause cause) {
  return cause == ExitCause::recycle_max_tasks || cause == ExitCause::recycle_max_rss ||
         cause == ExitCause::recycle_max_lifetime || cause == ExitCause::recycle_idle ||
         cause == ExitCause::recycle_self;
}

bool is_fault(ExitCause cause) {
  return cause == ExitCause::start_timeout || cause == ExitCause::watchdog ||
         cause == ExitCause::probe || cause == ExitCause::task_protocol;
}

}  // namespace mtd::model
