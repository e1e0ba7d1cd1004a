// Supervisor: what has happened goes to the event stream and, where a person may have to act, to
// the log.
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/exit_status.h"
#include "common/timestamp.h"
#include "daemon/supervisor/death_text.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/supervisor/status_json.h"
#include "daemon/supervisor/supervisor.h"

namespace mtd::supervisor {
namespace {

using model::Happening;
using nlohmann::json;

std::string exit_text(const model::ExitRecord& exit) {
  std::string text;
  if (exit.cause == model::ExitCause::spawn_failed) {
    text = "could not be started: " + std::string(stage_name(exit.stage)) + ": " +
           errno_text(exit.error);
    const std::string hint = advice(exit.stage, exit.error);
    return hint.empty() ? text : text + " (" + hint + ")";
  }
  if (exit.cause == model::ExitCause::unknown) return "ended, and nobody knows how";
  text = ExitStatus::from_wait(exit.wait_status).text();
  const std::string_view cause = model::name_of(exit.cause);
  if (exit.cause == model::ExitCause::exit || exit.cause == model::ExitCause::signal ||
      exit.cause == model::ExitCause::core) {
    return text;
  }
  return text + ", " + std::string(cause);
}

std::string next_text(const model::PublishAction& action) {
  if (!action.next_attempt) return {};
  if (action.next_attempt->is_zero()) return "; started again at once";
  return "; next attempt in " + format_duration_brief(*action.next_attempt);
}

std::string probe_text(const PoolRunner& pool, const model::WorkerKey& key) {
  const auto found = pool.workers().find(key);
  if (found == pool.workers().end()) return {};
  const auto role = static_cast<std::size_t>(model::ProbeRole::ready);
  return escape_for_terminal(found->second.probe_texts[role]);
}

std::string ending_text(const PoolRunner& pool, const model::WorkerKey& key) {
  const auto slot = pool.model().slot_view(key.slot);
  if (!slot) return {};
  for (const auto& process : slot->processes) {
    if (process.key == key && process.ending) return std::string(model::name_of(*process.ending));
  }
  return {};
}

std::string held_back_text(const PoolRunner& pool, const model::PublishAction& action) {
  const auto view = pool.model().summary({});
  return std::to_string(action.number) + " workers are needed, " + std::to_string(view.want) +
         " are there, and " + std::string(restraint_text(view.restraint));
}

// Planned and ordinary things are for `events`; the log tells what a person wants to find in it.
spdlog::level::level_enum level_of(const model::PublishAction& action) {
  switch (action.happening) {
    case Happening::spawned:
    case Happening::executed:
    case Happening::ready:
    case Happening::signalled:
    case Happening::stop_command:
    case Happening::recycling:
    case Happening::tree_killed:
    case Happening::backoff:
    case Happening::grown:
    case Happening::shrunk:
    case Happening::demanded:
      return spdlog::level::debug;
    case Happening::exited:
      return action.exit && !action.exit->planned ? spdlog::level::info : spdlog::level::debug;
    case Happening::stopped:
    case Happening::scaled:
    case Happening::started:
    case Happening::stopping:
    case Happening::reloaded:
    case Happening::rollout_paused:
    case Happening::rollout_resumed:
    case Happening::rolled_back:
    case Happening::draining:
    case Happening::waiting:
    case Happening::admitted:
    case Happening::restarting:
    case Happening::frozen:
    case Happening::thawed:
    case Happening::completed:
    case Happening::breaker_half_open:
    case Happening::breaker_closed:
      return action.worker ? spdlog::level::debug : spdlog::level::info;
    case Happening::spawn_failed:
    case Happening::stuck:
    case Happening::unready:
    case Happening::rollout_failed:
    case Happening::breaker_opened:
    case Happening::held_back:
      return spdlog::level::warn;
    case Happening::failed:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

// Those that no earlier life lived long enough to publish; the keeper has logged each.
void Supervisor::publish_deaths() {
  for (std::uint32_t i = std::min(deaths_.untold, deaths_.kept); i-- > 0;) {
    const keeper::Death& death = deaths_.last[i];
    events_->push({}, {},
                  {{"time", format_timestamp(death.realtime_ns)},
                   {"event", "supervisor_died"},
                   {"pid", death.pid},
                   {"detail", death_text(death)}});
  }
}

void Supervisor::publish(const PoolRunner& pool, const model::PublishAction& action) {
  dirty_ = true;
  const Moment moment = this->moment();
  const std::string worker =
      action.worker ? pool.name() + "/" + std::to_string(action.worker->slot) : std::string();
  const auto level = level_of(action);
  if (spdlog::should_log(level)) {
    std::string detail = action.exit ? ": " + exit_text(*action.exit) : std::string();
    if (action.happening == Happening::unready) detail = ": " + probe_text(pool, *action.worker);
    if (action.happening == Happening::scaled) detail = " to " + std::to_string(action.number);
    if (action.happening == Happening::held_back) detail = ": " + held_back_text(pool, action);
    spdlog::log(level, "{}{}: {}{}{}", worker.empty() ? "pool " + pool.name() : worker,
                action.pid > 0 ? " pid " + std::to_string(action.pid) : "",
                model::name_of(action.happening), detail, next_text(action));
  }

  json event = {{"time", moment.timestamp(moment.now)},
                {"pool", pool.name()},
                {"event", model::name_of(action.happening)}};
  if (action.worker) {
    event["worker"] = worker;
    event["incarnation"] = action.worker->incarnation;
    if (const auto slot = pool.model().slot_view(action.worker->slot)) {
      event["state"] = model::name_of(slot->state);
    }
  } else {
    event["state"] = model::name_of(pool.model().summary(moment.now).state);
  }
  if (action.pid > 0) event["pid"] = action.pid;
  if (action.exit) {
    event["last_exit"] =
        exit_json(pool, action.worker ? action.worker->slot : 0, *action.exit, moment);
    event["detail"] = exit_text(*action.exit);
  }
  if (action.next_attempt && !action.next_attempt->is_infinite()) {
    event["next_attempt_ms"] = action.next_attempt->count_ms();
  }
  if (action.happening == Happening::unready) event["detail"] = probe_text(pool, *action.worker);
  if (action.happening == Happening::recycling) event["detail"] = ending_text(pool, *action.worker);
  if (action.happening == Happening::held_back) event["detail"] = held_back_text(pool, action);
  if (action.happening == Happening::scaled || action.happening == Happening::grown ||
      action.happening == Happening::shrunk)
    event["detail"] = "want " + std::to_string(action.number);
  if (action.happening == Happening::signalled) {
    event["detail"] = "SIG" + signal_name(SignalNumber{static_cast<int>(action.number)});
  }
  events_->push(pool.name(), worker, std::move(event));
}

void Supervisor::publish_own(const std::string& event, const std::string& detail,
                             const std::string& pool, int pid) {
  const Moment moment = this->moment();
  json object = {{"time", moment.timestamp(moment.now)}, {"event", event}, {"detail", detail}};
  if (!pool.empty()) object["pool"] = pool;
  if (pid > 0) object["pid"] = pid;
  events_->push(pool, {}, std::move(object));
}

}  // namespace mtd::supervisor
