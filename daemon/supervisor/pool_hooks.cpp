// The part of PoolRunner that runs commands beside its workers, as errands: hooks, which tell
// others what has happened (which one comes next is the model's, hooks.h), and stop.command, which
// asks a worker to end.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/escape.h"
#include "common/exit_status.h"
#include "daemon/supervisor/errands.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {
namespace {

// Stop commands of a pool at once; the others wait, while their workers' time runs.
constexpr std::size_t kMaxStopCommands = 16;
// Of a stop command where the worker's own time has no end.
constexpr Duration kLongestCommand = Duration::seconds(600);

// About the pool: what says which worker it is stays away.
void leave_worker_out(std::vector<std::string>& environment) {
  const auto is_of_worker = [](const std::string& variable) {
    return variable.starts_with("MTD_WORKER=") || variable.starts_with("MTD_WORKER_ID=") ||
           variable.starts_with("MTD_INCARNATION=");
  };
  environment.erase(std::remove_if(environment.begin(), environment.end(), is_of_worker),
                    environment.end());
}

std::vector<std::string> variables_of(const model::PublishAction& fact) {
  std::vector<std::string> facts{"MTD_EVENT=" + std::string(model::name_of(fact.happening))};
  if (fact.pid > 0) facts.push_back("MTD_PID=" + std::to_string(fact.pid));
  if (!fact.exit) return facts;
  facts.push_back("MTD_CAUSE=" + std::string(model::name_of(fact.exit->cause)));
  facts.push_back(std::string("MTD_PLANNED=") + (fact.exit->planned ? "1" : "0"));
  if (!fact.exit->has_status()) return facts;
  const auto status = ExitStatus::from_wait(fact.exit->wait_status);
  if (const auto code = status.code()) facts.push_back("MTD_EXIT_CODE=" + std::to_string(*code));
  if (const auto signal = status.signal())
    facts.push_back("MTD_EXIT_SIGNAL=" + signal_name(*signal));
  return facts;
}

bool is_well(const ErrandEnd& end) {
  return end.kind == ErrandEnd::Kind::exited && ExitStatus::from_wait(end.wait_status).code() == 0;
}

std::string outcome_of(const ErrandEnd& end) {
  switch (end.kind) {
    case ErrandEnd::Kind::exited:
      return "ended with " + ExitStatus::from_wait(end.wait_status).text();
    case ErrandEnd::Kind::timed_out:
      return end.text + " and was killed";
    case ErrandEnd::Kind::not_started:
    case ErrandEnd::Kind::failed:
      return "could not be run: " + end.text;
  }
  return end.text;
}

}  // namespace

// ---- hooks ----

void PoolRunner::perform(const model::PublishAction& action) {
  const auto kind = model::hook_for(action);
  if (!kind || model::hook_of(model_.spec(), *kind).command.empty()) return;
  if (hooks_.put({*kind, action}) && !std::exchange(hooks_full_, true)) {
    const std::string text = "more than " + std::to_string(model::kMaxQueuedHooks) +
                             " hooks wait: those that have waited longest are left out";
    spdlog::warn("pool {}: {}", name(), text);
    services_.publisher.publish_own("hook_dropped", text, name(), 0);
    services_.publisher.commit();
  }
  run_next_hook();
}

void PoolRunner::run_next_hook() {
  auto call = hooks_.take();
  if (!call) return;
  const config::CommandSpec& hook = model::hook_of(model_.spec(), call->kind);
  if (hook.command.empty()) {  // a reload took it away meanwhile
    hooks_.ended(true);
    return run_next_hook();
  }
  Errand errand;
  errand.command = hook.command;
  errand.executable = hook.executable;
  errand.environment = variables_of(call->fact);
  errand.timeout = model_.spec().hooks.timeout;
  config::PoolSpec surroundings = model_.spec();
  if (call->fact.worker) {
    errand.slot = call->fact.worker->slot;
    errand.incarnation = call->fact.worker->incarnation;
  } else {
    leave_worker_out(surroundings.environment);
  }
  hook_ = services_.errands.start(
      surroundings, errand,
      [this, called = *call](const ErrandEnd& end) { on_hook_end(called, end); });
}

void PoolRunner::on_hook_end(const model::HookCall& call, const ErrandEnd& end) {
  hook_ = 0;
  hooks_.ended(is_well(end));
  hooks_full_ = hooks_full_ && hooks_.waiting() > model::kMaxQueuedHooks / 2;
  if (!is_well(end)) {
    const std::string about =
        call.fact.worker ? name() + "/" + std::to_string(call.fact.worker->slot) : name();
    hook_failure_ = std::string(config::kHooks[static_cast<std::size_t>(call.kind)].name) +
                    " for " + std::string(model::name_of(call.fact.happening)) + " of " + about +
                    " " + outcome_of(end);
    spdlog::warn("pool {}: hook {}", name(), escape_for_terminal(hook_failure_));
    services_.publisher.publish_own("hook_failed", hook_failure_, name(), 0);
    services_.publisher.commit();
  }
  run_next_hook();
  services_.publisher.changed();
}

// ---- stop.command ----

void PoolRunner::perform(const model::StopCommandAction& action) {
  if (finishes_first(action.key, 0, model_.spec().stop.scope)) return;
  ask_by_command(action.key);
}

void PoolRunner::ask_by_command(const model::WorkerKey& key) {
  const auto found = workers_.find(key);
  if (found == workers_.end() || found->second.told_end) return;
  if (stop_commands_.size() >= kMaxStopCommands) {
    stop_commands_waiting_.push_back(key);
    return;
  }
  const config::StopSpec& stop = model_.spec().stop;
  Errand errand;
  errand.command = stop.command.command;
  errand.executable = stop.command.executable;
  errand.slot = key.slot;
  errand.incarnation = key.incarnation;
  errand.environment = {"MTD_PID=" + std::to_string(found->second.pid)};
  errand.timeout = std::min(model::step_of(stop, 0).timeout, kLongestCommand);
  stop_commands_[key] = services_.errands.start(
      model_.spec(), errand, [this, key](const ErrandEnd& end) { on_stop_command_end(key, end); });
}

void PoolRunner::on_stop_command_end(const model::WorkerKey& key, const ErrandEnd& end) {
  stop_commands_.erase(key);
  const auto found = workers_.find(key);
  // Of a worker that has ended nobody asks any more who made it do so.
  if (!is_well(end) && found != workers_.end() && !found->second.told_end) {
    const std::string text = "stop.command for " + name() + "/" + std::to_string(key.slot) + " " +
                             outcome_of(end) + "; the stop signal is sent";
    spdlog::warn("{}", escape_for_terminal(text));
    services_.publisher.publish_own("stop_command_failed", text, name(), found->second.pid);
    queue(model::StopCommandFailed{key});
  }
  while (!stop_commands_waiting_.empty() && stop_commands_.size() < kMaxStopCommands) {
    const model::WorkerKey next = stop_commands_waiting_.front();
    stop_commands_waiting_.pop_front();
    ask_by_command(next);
  }
  services_.publisher.changed();
}

// ---- both, at the pool's end ----

bool PoolRunner::wind_up() {
  if (!hooks_.is_running() && hooks_.waiting() == 0 && stop_commands_.empty()) return true;
  if (std::exchange(winding_up_, true)) return false;
  auto timer = services_.loop.timer(sys::Priority::normal, [this] {
    winding_up_ = false;
    drop_commands();
    services_.publisher.changed();
  });
  if (!timer) {
    drop_commands();
    return true;
  }
  wind_up_timer_ = std::move(*timer);
  wind_up_timer_.arm(sys::now() + model_.spec().hooks.timeout);
  return false;
}

void PoolRunner::drop_commands() {
  hooks_.clear();
  if (hook_ != 0) {
    services_.errands.cancel(std::exchange(hook_, 0));
    hooks_.ended(false);
  }
  stop_commands_waiting_.clear();
  for (const auto& entry : std::exchange(stop_commands_, {}))
    services_.errands.cancel(entry.second);
}

}  // namespace mtd::supervisor
