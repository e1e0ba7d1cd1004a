#include "daemon/supervisor/status_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/exit_status.h"
#include "common/json_writer.h"
#include "common/timestamp.h"
#include "daemon/supervisor/death_text.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/rollout_text.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/upgrade_text.h"
#include "daemon/supervisor/worker_text.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"

namespace mtd::supervisor {
namespace {

using nlohmann::json;

json until_ms(Instant at, Instant now) {
  if (at.is_never()) return nullptr;
  return at.since(now).count_ms();
}

json text_or_null(std::string text) {
  if (text.empty()) return nullptr;
  return text;
}

constexpr Duration kDeathIsNews = Duration::seconds(24 * 3600);

}  // namespace

std::string Moment::timestamp(Instant at) const {
  const std::int64_t slept = sleeps != nullptr ? sleeps->since(at).count_ns() : 0;
  return format_timestamp(realtime_ns - (now.count_ns() - at.count_ns()) - slept);
}

Duration Moment::age(Instant at) const {
  return sleeps != nullptr ? now.since(at) + sleeps->since(at) : now.since(at);
}

Moment this_moment(const SleepLog* sleeps) {
  return {sys::now(), sys::realtime_ns(), sleeps};
}

std::string_view demand_text(const config::PoolSpec& spec) {
  if (!spec.tasks.has_queue()) return "connection";
  return spec.listen.empty() ? "task" : "connection or task";
}

std::string_view restraint_text(model::Restraint restraint) {
  switch (restraint) {
    case model::Restraint::none:
      break;
    case model::Restraint::processes:
      return "there is no room for more processes (limits.processes)";
    case model::Restraint::memory:
      return "memory is short (limits.memory_pressure)";
  }
  return "nothing holds it back";
}

json exit_json(const PoolRunner& pool, std::uint32_t slot, const model::ExitRecord& exit,
               const Moment& moment) {
  JsonWriter out;
  write_exit(out, pool, slot, exit, moment);
  return json::parse(out.text());
}

json worker_json(const PoolRunner& pool, const model::SlotView& slot, const Moment& moment) {
  JsonWriter out;
  write_worker(out, pool, slot, moment, true);
  return json::parse(out.text());
}

std::string note_of(const PoolRunner& pool, const model::PoolView& view, const Moment& moment) {
  const auto in = [&](Instant at) { return format_duration_brief(at.since(moment.now)); };
  if (pool.removing()) return pool.successor ? "being replaced" : "left the configuration; ending";
  if (view.held_back || view.stop_due) {
    if (!pool.order_note().empty()) return pool.order_note();
  }
  if (view.breaker_open) {
    const std::string what = "crash limit reached (" + std::to_string(view.crashes_in_window) +
                             " in " +
                             format_duration_brief(pool.model().spec().crash_limit.window) + ")";
    return view.breaker_retry.is_never() ? what + "; waits for reset-failed"
                                         : what + "; one try in " + in(view.breaker_retry);
  }
  if (std::string note = rollout_note(pool, view); !note.empty()) return note;
  if (view.restart_remaining > 0) {
    return "restart: " + std::to_string(view.restart_remaining) + " to go";
  }
  if (view.state == model::PoolState::stopped) {
    if (const auto uid = pool.stopped_by()) return "by uid " + std::to_string(*uid);
    return pool.enabled().value_or(pool.model().spec().enabled) ? "" : "not enabled";
  }
  if (view.state == model::PoolState::running && !pool.order_note().empty())
    return pool.order_note();
  if (view.restraint != model::Restraint::none) {
    return "needs " + std::to_string(view.need) + " workers; " +
           std::string(restraint_text(view.restraint));
  }
  if (pool.model().waits_for_demand())
    return "starts with the next " + std::string(demand_text(pool.model().spec()));
  if (view.state != model::PoolState::degraded && view.state != model::PoolState::backoff &&
      view.state != model::PoolState::failed) {
    return {};
  }
  for (const std::uint32_t slot : pool.model().shown_slots()) {
    const auto each = pool.model().slot_view(slot);
    if (each && each->state == model::WorkerState::unready) {
      return pool.name() + "/" + std::to_string(slot) + " is not ready: its ready probe fails";
    }
    if (!each ||
        (each->state != model::WorkerState::backoff && each->state != model::WorkerState::failed)) {
      continue;
    }
    std::string note = pool.name() + "/" + std::to_string(slot);
    if (!each->exits.empty()) {
      const auto& exit = each->exits.front();
      note += " " + (exit.has_status() ? ExitStatus::from_wait(exit.wait_status).text()
                     : exit.cause == model::ExitCause::unknown
                         ? std::string("ended, nobody knows how")
                         : "spawn failed: " + std::string(stage_name(exit.stage)) + " " +
                               errno_name(exit.error));
      if (exit.cause == model::ExitCause::oom)
        note = pool.name() + "/" + std::to_string(slot) + " oom-killed";
    }
    return each->next_attempt.is_never() ? note : note + ", retry in " + in(each->next_attempt);
  }
  return {};
}

json listen_json(const PoolRunner& pool) {
  json list = json::array();
  for (const auto& fact : pool.sockets()) {
    list.push_back({{"address", escape_for_terminal(fact.address)},
                    {"name", fact.name},
                    {"sockets", fact.sockets},
                    {"waiting", fact.waiting ? json(*fact.waiting) : json()},
                    {"problem", text_or_null(fact.problem)}});
  }
  return list;
}

// As the broker shows it: each number by itself.
json queue_json(const sys::BoardQueue& queue, const config::TasksSpec& tasks,
                const Moment& moment) {
  const std::int64_t age = moment.realtime_ns - queue.oldest_ns;
  return {{"waiting", queue.waiting},
          {"scheduled", queue.scheduled},
          {"running", queue.running},
          {"oldest_ms",
           queue.oldest_ns == 0 ? json() : json(std::max<std::int64_t>(age, 0) / 1'000'000)},
          {"max", tasks.max_queue},
          {"done", queue.done},
          {"failed", queue.failed},
          {"crashed_attempts", queue.crashed},
          {"dead", queue.dead},
          {"rejected", queue.refused},
          {"paused", queue.paused != 0},
          {"closed", queue.closed != 0}};
}

json scaling_json(const PoolRunner& pool, const model::PoolView& view, const Moment& moment) {
  if (!view.dynamic) return nullptr;
  const auto& bounds = pool.model().spec().scaling;
  return {{"min", bounds.min},
          {"max", bounds.max},
          {"spare", bounds.spare},
          {"quiet_ms", bounds.quiet.count_ms()},
          {"need", view.need},
          {"by_hand", view.by_hand},
          {"held_back", view.restraint == model::Restraint::none     ? json()
                        : view.restraint == model::Restraint::memory ? json("memory")
                                                                     : json("processes")},
          {"shrink_ms", until_ms(view.shrink_at, moment.now)}};
}

json pool_json(const PoolRunner& pool, const Moment& moment) {
  const auto view = pool.model().summary(moment.now);
  const auto& spec = pool.model().spec();
  const auto queue = pool.queue();
  // Told by the workers, else by their broker.
  const bool known = view.busy || queue;
  const std::uint64_t told = view.busy.value_or(0);
  const std::uint64_t busy = view.busy || !queue ? told : queue->busy;
  const auto stopped_by =
      view.state == model::PoolState::stopped ? pool.stopped_by() : std::nullopt;
  return {{"name", pool.name()},
          {"state", model::name_of(view.state)},
          {"want", view.want},
          {"want_file", view.want_file},
          {"ready", view.ready},
          {"busy", known ? json(busy) : json()},
          {"idle", known ? json(view.ready - std::min<std::uint64_t>(busy, view.ready)) : json()},
          {"scaling", scaling_json(pool, view, moment)},
          {"queue", queue ? queue_json(*queue, spec.tasks, moment) : json()},
          {"restarts", view.restarts},
          {"recycled", view.recycled},
          {"spawn_failures", view.spawn_failures},
          {"revision", view.revision},
          {"outdated", view.outdated},
          {"rollout", rollout_json(pool, view)},
          {"enabled", pool.enabled().value_or(spec.enabled)},
          {"waits_for", text_or_null(view.held_back ? pool.order_note() : std::string())},
          {"since", moment.timestamp(view.since)},
          {"since_ms", moment.age(view.since).count_ms()},
          {"note", note_of(pool, view, moment)},
          {"listen", listen_json(pool)},
          {"stopped_by", stopped_by ? json(*stopped_by) : json()},
          {"breaker",
           {{"open", view.breaker_open},
            {"retry_ms", until_ms(view.breaker_retry, moment.now)},
            {"crashes_in_window", view.crashes_in_window},
            {"limit", view.crash_limit},
            {"window_ms", spec.crash_limit.window.is_infinite()
                              ? json()
                              : json(spec.crash_limit.window.count_ms())}}}};
}

json daemon_json(const Supervisor& supervisor, const Moment& moment) {
  std::uint64_t ready = 0, want = 0, stale = 0;
  for (const auto& entry : supervisor.pools()) {
    const auto view = entry.second->model().summary(moment.now);
    ready += view.ready;
    want += view.want;
    stale += view.stale_facts;
  }
  json warnings = json::array();
  for (const auto& warning : supervisor.configuration().warnings)
    warnings.push_back(warning);
  if (!supervisor.cgroups()) warnings.push_back("no cgroups: " + supervisor.no_cgroups_reason());
  for (const auto& entry : supervisor.pools()) {
    for (auto& warning : entry.second->limits().warnings())
      warnings.push_back(std::move(warning));
  }
  const keeper::Deaths& deaths = supervisor.deaths();
  if (deaths.kept > 0 &&
      moment.realtime_ns - deaths.last[0].realtime_ns < kDeathIsNews.count_ns()) {
    const std::string times =
        deaths.total == 1 ? "once, " : std::to_string(deaths.total) + " times, the last ";
    warnings.push_back("the supervisor was started again " + times + "at " +
                       format_timestamp(deaths.last[0].realtime_ns) + ": " +
                       death_text(deaths.last[0]) + "; workers were not touched");
  }
  const auto& hello = supervisor.hello();
  if (hello.oom_score_adj > keeper::kOwnOomScore) {
    warnings.push_back("mtd may not lower its oom_score_adj (" +
                       std::to_string(hello.oom_score_adj) +
                       "): short of memory, the kernel may end it before its workers");
  }
  if (!supervisor.state_warning().empty()) warnings.push_back(supervisor.state_warning());
  if (supervisor.tasks().is_wanted() && !supervisor.tasks().problem().empty())
    warnings.push_back("tasks: " + escape_for_terminal(supervisor.tasks().problem()));
  const auto& lost = supervisor.unattributed();
  if (lost.count > 0) {
    warnings.push_back(std::to_string(lost.count) +
                       " notifications came from no worker, the last from pid " +
                       std::to_string(lost.last_pid) + " of uid " + std::to_string(lost.last_uid));
  }
  const std::string keeper_version = keeper::text_of(supervisor.programs().version);
  return {{"version", MTD_VERSION},
          {"pid", hello.keeper_pid},
          {"supervisor_pid", sys::own_pid()},
          {"uptime_ms", moment.age(Instant::at_ns(hello.keeper_started_ns)).count_ms()},
          {"config_rev", supervisor.config_revision()},
          {"config_in_sync", supervisor.config_in_sync()},
          {"config_error", text_or_null(supervisor.config_error())},
          {"config_path", supervisor.config_path()},
          {"workers_ready", ready},
          {"workers_want", want},
          {"stray", supervisor.strays()},
          {"stale_facts", stale},
          {"keeper_version",
           keeper_version.empty() || keeper_version == MTD_VERSION ? json() : json(keeper_version)},
          {"upgrade", upgrade_json(supervisor.upgrade_state())},
          {"warnings", warnings}};
}

}  // namespace mtd::supervisor
