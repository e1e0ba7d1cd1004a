#include "daemon/supervisor/why_lines.h"

#include <algorithm>
#include <cerrno>

#include "common/escape.h"
#include "common/exit_status.h"
#include "common/size.h"
#include "daemon/supervisor/foreground.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/rollout_text.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/pids_limit.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kMaxWorkersTold = 20;

std::string ago(Instant at, const Moment& moment) {
  return format_duration_brief(moment.age(at)) + " ago";
}

std::string in(Instant at, const Moment& moment) {
  return "in " + format_duration_brief(at.since(moment.now));
}

std::string plural(std::uint64_t count, const std::string& what) {
  const std::string_view ending = what.back() == 's' ? "es" : "s";
  return std::to_string(count) + " " + what + std::string(count == 1 ? "" : ending);
}

bool is_limit_of_processes(const model::ExitRecord& exit) {
  return exit.cause == model::ExitCause::spawn_failed && exit.error == EAGAIN &&
         exit.stage == static_cast<int>(keeper::Stage::clone);
}

bool remarkable(const model::SlotView& slot) {
  return !model::is_ready(slot.state) || !slot.exits.empty();
}

// When it is replaced, as far as that is known.
std::string limits_of(const model::ProcessView& process, const Moment& moment) {
  std::string text;
  if (process.rss_limit != 0)
    text += "; recycled at " + format_size({process.rss_limit}) + " of memory";
  if (!process.expires.is_never())
    text += process.expires <= moment.now ? "; its turn to be recycled comes"
                                          : "; recycled " + in(process.expires, moment);
  if (!process.alive_until.is_never())
    text += "; WATCHDOG=1 is due " + in(process.alive_until, moment);
  return text;
}

void tell_probes(std::vector<std::string>& lines, const PoolRunner& pool,
                 const model::ProcessView& process) {
  const auto record = pool.workers().find(process.key);
  if (record == pool.workers().end()) return;
  for (const auto role : {model::ProbeRole::live, model::ProbeRole::ready}) {
    const bool live = role == model::ProbeRole::live;
    const std::string& wrong = record->second.probe_texts[static_cast<std::size_t>(role)];
    const std::uint32_t failures = live ? process.live_failures : process.ready_failures;
    if (wrong.empty()) continue;
    lines.push_back(
        "  Its " + std::string(live ? "live" : "ready") + " probe " +
        (failures == 0 ? "could not be made" : "failed " + plural(failures, "time") + " in a row") +
        ": " + escape_for_terminal(wrong) + ".");
  }
}

// mtd was refused the process itself: whose limit that is, as far as it can still be seen.
void tell_process_limit(std::vector<std::string>& lines, const model::SlotView& slot) {
  const bool refused = !slot.exits.empty() && is_limit_of_processes(slot.exits.front());
  const auto limit = refused ? sys::least_pids_limit() : std::nullopt;
  if (!limit) return;
  lines.push_back("  pids.max of " + escape_for_terminal(limit->directory) +
                  " (TasksMax= of its unit) is " + std::to_string(limit->most) + ", and " +
                  std::to_string(limit->used) + " are in use.");
}

// A program that leaves for the background is ended there, and started again for ever.
void tell_daemonized(std::vector<std::string>& lines, const PoolRunner& pool,
                     const model::SlotView& slot) {
  const auto& spec = pool.model().spec();
  if (spec.restart != config::RestartPolicy::always || !looks_daemonized(slot.exits)) return;
  const std::string_view option = foreground_option(spec.executable);
  lines.push_back(
      "  It exits with 0 by itself, again and again, like a program that puts itself into the "
      "background. What it leaves there is ended: a worker has to stay in the foreground" +
      (option.empty() ? ", for which most programs have an option (--foreground, --no-daemon)."
                      : ": " + std::string(option) + "."));
}

void tell_worker(std::vector<std::string>& lines, const PoolRunner& pool,
                 const model::SlotView& slot, const Moment& moment) {
  const std::string name = pool.name() + "/" + std::to_string(slot.slot);
  std::string line = name + " is " + std::string(model::name_of(slot.state));
  if (!slot.processes.empty()) {
    const auto& main = slot.processes.front();
    if (main.pid > 0) line += " (pid " + std::to_string(main.pid) + ")";
    if (main.ending) line += ", being ended: " + std::string(model::name_of(*main.ending));
    if (!main.state_deadline.is_never()) line += "; deadline " + in(main.state_deadline, moment);
    if (main.task_limit != 0) {
      line += "; " + std::to_string(main.tasks) + " of " + std::to_string(main.task_limit) +
              " tasks done";
    }
  }
  if (!slot.processes.empty()) line += limits_of(slot.processes.front(), moment);
  if (!slot.next_attempt.is_never()) line += "; started again " + in(slot.next_attempt, moment);
  lines.push_back(line + ".");
  for (const auto& process : slot.processes)
    tell_probes(lines, pool, process);
  for (const auto& exit : slot.exits) {
    lines.push_back("  " + ago(exit.at, moment) +
                    (exit.pid > 0 ? ", pid " + std::to_string(exit.pid) : "") + ": " +
                    exit_sentence(exit) + (exit.planned ? " (planned)." : "."));
  }
  tell_process_limit(lines, slot);
  tell_daemonized(lines, pool, slot);
  for (const auto& process : slot.processes) {
    const auto record = pool.workers().find(process.key);
    if (record == pool.workers().end() || !record->second.tree_events) continue;
    const auto left = pool.pids_of(process.key);
    lines.push_back("  " + plural(left.size(), "process") +
                    " of it outlived the main process and " + (left.size() == 1 ? "is" : "are") +
                    " being ended.");
  }
}

void tell_rollout(std::vector<std::string>& lines, const PoolRunner& pool,
                  const model::PoolView& view) {
  const model::RolloutView& rollout = view.rollout;
  if (rollout.failed != 0) {
    std::string text = failed_revision_text(pool, view);
    text.front() = 'R';
    lines.push_back(text + ". Revision " + std::to_string(view.revision) +
                    " is in force; `mtctl reload " + pool.name() + "` tries the files again.");
  }
  if (rollout.remaining > 0) {
    lines.push_back(plural(rollout.remaining, "worker") + " still to be replaced by revision " +
                    std::to_string(view.revision) + ".");
  }
  if (rollout.state == model::RolloutState::paused) {
    lines.push_back("The roll-out is paused; `mtctl rollout resume " + pool.name() +
                    "` goes on with it, `mtctl rollout undo " + pool.name() + "` takes it back.");
  }
  if (rollout.state == model::RolloutState::waiting) {
    lines.push_back(
        "The roll-out begins when the workers that the one before it replaced have ended: at most "
        "one older revision drains.");
  }
}

void tell_sockets(std::vector<std::string>& lines, const PoolRunner& pool) {
  for (const auto& fact : pool.sockets()) {
    if (!fact.open) {
      lines.push_back("It cannot listen on " + escape_for_terminal(fact.address) + ".");
      continue;
    }
    std::string line = "It listens on " + escape_for_terminal(fact.address);
    if (fact.reuse_port) line += ", " + plural(fact.sockets, "socket");
    if (fact.waiting.value_or(0) > 0)
      line += "; " + plural(*fact.waiting, "connection") + " not accepted yet";
    if (!fact.problem.empty()) line += "; " + fact.problem;
    lines.push_back(line + ".");
  }
}

void tell_scaling(std::vector<std::string>& lines, const PoolRunner& pool,
                  const model::PoolView& view, const Moment& moment) {
  if (!view.dynamic) return;
  const auto& bounds = pool.model().spec().scaling;
  std::string line = "It is dynamic: from " + std::to_string(bounds.min) + " to " +
                     plural(bounds.max, "worker") + ", " + std::to_string(bounds.spare) +
                     " spare; ";
  line += view.busy ? std::to_string(*view.busy) + (*view.busy == 1 ? " is" : " are") + " busy"
                    : "no worker has told whether it is busy (X_MTD_BUSY), so none is ended";
  if (view.by_hand) {
    line += ". Their number was set by hand; `mtctl scale " + pool.name() +
            " --reset` lets it follow the work again";
  } else if (!view.shrink_at.is_never()) {
    line += "; it is looked " + in(view.shrink_at, moment) + " whether it can do with less";
  }
  lines.push_back(line + ".");
  if (view.restraint != model::Restraint::none) {
    lines.push_back("It needs " + plural(view.need, "worker") +
                    " and is not given more: " + std::string(restraint_text(view.restraint)) + ".");
  }
  if (pool.model().waits_for_demand()) {
    lines.push_back("No worker runs; one is started with the next " +
                    std::string(demand_text(pool.model().spec())) + ".");
  } else if (view.demanded) {
    lines.push_back("Its first worker is started for a " +
                    std::string(demand_text(pool.model().spec())) + " that waits.");
  }
}

void tell_hooks(std::vector<std::string>& lines, const PoolRunner& pool) {
  const auto& counts = pool.hooks().counts();
  if (counts.run == 0) return;
  std::string line =
      plural(counts.run, "hook") + " run, " + std::to_string(counts.failed) + " failed";
  if (counts.dropped > 0) line += ", " + std::to_string(counts.dropped) + " left out";
  if (pool.hooks().waiting() > 0)
    line += "; " + plural(pool.hooks().waiting(), "hook") + " not run yet";
  lines.push_back(line + ".");
  if (!pool.hook_failure().empty())
    lines.push_back("The last failure: " + escape_for_terminal(pool.hook_failure()) + ".");
}

// "is running since 3d4h"
std::string state_since(model::PoolState state, Duration age) {
  const std::string time = format_duration_brief(age);
  if (state == model::PoolState::failed) return "has failed, " + time + " ago";
  const std::string name =
      state == model::PoolState::backoff ? "in back-off" : std::string(model::name_of(state));
  return "is " + name + " since " + time;
}

}  // namespace

std::string exit_sentence(const model::ExitRecord& exit) {
  if (exit.cause == model::ExitCause::spawn_failed) {
    std::string text = "could not be started: " + std::string(stage_name(exit.stage)) + ": " +
                       errno_text(exit.error) + " (" + errno_name(exit.error) + ")";
    const std::string hint = advice(exit.stage, exit.error);
    return hint.empty() ? text : text + "; " + hint;
  }
  if (exit.cause == model::ExitCause::unknown) return "ended, and nobody knows how";
  const auto status = ExitStatus::from_wait(exit.wait_status);
  std::string text = "ended with " + status.text();
  switch (exit.cause) {
    case model::ExitCause::exit:
    case model::ExitCause::signal:
    case model::ExitCause::core:
      return text;
    case model::ExitCause::oom:
      return text + ": the kernel killed it for want of memory (memory.events)";
    case model::ExitCause::start_timeout:
      return text + " after it had not become ready within start_timeout";
    case model::ExitCause::stop_timeout:
      return text + " after it had not ended within stop.timeout";
    case model::ExitCause::task_timeout:
      return text + ": it went on with a task that it was told to give up";
    case model::ExitCause::task_protocol:
      return text + ": what it wrote to its task socket was no mtd-task/1; the log has the line";
    case model::ExitCause::start_failed:
      return text + " in the instant of exec: start failure, cause unknown";
    case model::ExitCause::left_over:
      return text + ", left over from an earlier mtd";
    case model::ExitCause::watchdog:
      return text + " after it had not said WATCHDOG=1 in time";
    case model::ExitCause::probe:
      return text + " after its live probe had failed too often";
    case model::ExitCause::stop:
    case model::ExitCause::recycle_max_rss:
    case model::ExitCause::recycle_max_lifetime:
    case model::ExitCause::recycle_idle:
    case model::ExitCause::recycle_max_tasks:
    case model::ExitCause::recycle_self:
    case model::ExitCause::reload:
    case model::ExitCause::restart:
    case model::ExitCause::scale_down:
    case model::ExitCause::spawn_failed:
    case model::ExitCause::unknown:
      break;
  }
  return text + ", cause " + std::string(model::name_of(exit.cause));
}

std::vector<std::string> why_lines(const Supervisor& supervisor, const PoolRunner& pool,
                                   const std::vector<model::SlotView>& slots, bool whole_pool,
                                   const Moment& moment) {
  std::vector<std::string> lines;
  const auto view = pool.model().summary(moment.now);
  const auto& spec = pool.model().spec();
  if (whole_pool) {
    std::string line =
        "Pool " + pool.name() + " " + state_since(view.state, moment.age(view.since)) + ": " +
        std::to_string(view.ready) + " of " + std::to_string(view.want) + " workers are ready";
    if (view.want != view.want_file && !view.dynamic)
      line += " (the file says " + std::to_string(view.want_file) + ")";
    lines.push_back(line + ".");
    if (const auto uid = pool.stopped_by(); uid && view.state == model::PoolState::stopped) {
      lines.push_back("It was stopped by uid " + std::to_string(*uid) + "; `mtctl start " +
                      pool.name() + "` starts it.");
    } else if (view.state == model::PoolState::stopped && !pool.enabled().value_or(spec.enabled)) {
      lines.push_back("It is not enabled" +
                      std::string(pool.enabled() ? " any more" : " in the configuration") +
                      "; `mtctl start " + pool.name() + "` starts it.");
    }
    if (!pool.order_note().empty()) lines.push_back("Order: " + pool.order_note() + ".");
    tell_scaling(lines, pool, view, moment);
    lines.push_back(plural(view.restarts, "unplanned restart") + ", " +
                    plural(view.recycled, "recycling") + ", " +
                    plural(view.spawn_failures, "failed start") + " so far.");
    lines.push_back("Crash limit: " + std::to_string(view.crashes_in_window) + " of " +
                    std::to_string(view.crash_limit) + " crashes in the last " +
                    format_duration_brief(spec.crash_limit.window) +
                    (view.breaker_open ? "; it is reached, nothing is started." : "."));
    if (view.breaker_open) {
      lines.push_back(view.breaker_retry.is_never()
                          ? "It stays so until `mtctl reset-failed " + pool.name() + "`."
                          : "One worker is tried again " + in(view.breaker_retry, moment) + ".");
    }
    const TaskPlane& tasks = supervisor.tasks();
    if (spec.tasks.has_queue() && !tasks.problem().empty()) {
      lines.push_back("Its tasks cannot be served now, and mtd goes on trying: " +
                      escape_for_terminal(tasks.problem()) + ".");
    }
    tell_rollout(lines, pool, view);
    tell_sockets(lines, pool);
    tell_hooks(lines, pool);
    if (view.stale_facts > 0) {
      lines.push_back(plural(view.stale_facts, "late fact") + " about replaced processes dropped.");
    }
    const auto& lost = supervisor.unattributed();
    if (lost.count > 0) {
      lines.push_back(plural(lost.count, "notification") +
                      " came from no worker, the last from pid " + std::to_string(lost.last_pid) +
                      " of uid " + std::to_string(lost.last_uid) + ".");
    }
    if (const auto refused = pool.refused_forks(); refused > 0) {
      lines.push_back("The kernel refused its workers " + plural(refused, "process") +
                      " beyond cgroup.pids_max (" + std::to_string(spec.cgroup.pids_max) +
                      ", threads included).");
    }
    const auto strays = pool.strays();
    if (strays > 0) {
      lines.push_back(plural(strays, "descendant") +
                      " of ended workers still run (orphans: keep).");
    }
  }
  std::size_t told = 0, more = 0;
  for (const auto& slot : slots) {
    if (whole_pool && !remarkable(slot)) continue;
    if (told++ < kMaxWorkersTold) {
      tell_worker(lines, pool, slot, moment);
    } else {
      ++more;
    }
  }
  if (more > 0) lines.push_back("… and " + plural(more, "more worker") + ".");
  return lines;
}

}  // namespace mtd::supervisor
