// HandlerSet: the calls that change something, and those that wait.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/signals.h"
#include "daemon/supervisor/handler_set.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/upgrade_text.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {

using nlohmann::json;

namespace {

std::string_view apply_name(config::Apply apply) {
  switch (apply) {
    case config::Apply::unchanged:
      return "unchanged";
    case config::Apply::hot:
      return "hot";
    case config::Apply::rolling:
      return "rolling";
    case config::Apply::restart:
      return "restart";
    case config::Apply::add:
      return "add";
    case config::Apply::remove:
      return "remove";
  }
  return "unchanged";
}

json plan_json(const config::Plan& plan) {
  json pools = json::array();
  for (const auto& change : plan.pools) {
    pools.push_back(
        {{"pool", change.pool}, {"apply", apply_name(change.apply)}, {"keys", change.keys}});
  }
  return {{"pools", pools},
          {"daemon_keys", plan.daemon_keys},
          {"daemon_restart_keys", plan.daemon_restart_keys}};
}

}  // namespace

void HandlerSet::start(const CallRef& call) {
  const auto targets = selected(call);
  if (!targets) return;
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    goals.push_back(make_goal(GoalKind::started, target, pool));
    pool.set_stopped_by(std::nullopt);
    pool.apply(model::StartCommand{target.slots});
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::stop(const CallRef& call) {
  const bool now = call->parameters().value("now", false);
  const bool drain = call->parameters().value("drain", false);
  if (now && drain) {
    invalid(call, "drain", "now and drain exclude each other");
    return;
  }
  const auto targets = selected(call);
  if (!targets) return;
  const auto manner = now     ? model::StopManner::now
                      : drain ? model::StopManner::drain
                              : model::StopManner::gently;
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    goals.push_back(make_goal(GoalKind::stopped, target, pool));
    goals.back().done_text = target.whole()
                                 ? "stays so, after a restart of mtd too, until it is started"
                                 : "stays so until it is started or mtd is restarted";
    if (target.whole()) pool.set_stopped_by(call->peer().credentials.uid);
  }
  // All of them are asked first: what needs another one goes before it.
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    const bool waits = target.whole() && !now && supervisor_.is_needed(pool);
    pool.apply(model::StopCommand{target.slots, manner, waits});
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::set_enabled(const CallRef& call, bool enabled) {
  const auto targets = selected(call);
  if (!targets) return;
  for (const auto& target : *targets) {
    if (target.whole()) continue;
    invalid(call, "select",
            "only whole pools can be enabled and disabled, not single workers of " + target.pool);
    return;
  }
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    const bool as_in_file = pool.model().spec().enabled == enabled;
    pool.set_enabled(as_in_file ? std::nullopt : std::optional<bool>(enabled));
    goals.push_back(make_goal(GoalKind::at_once, target, pool));
    std::string& text = goals.back().done_text;
    text = enabled ? "enabled: it is started with mtd" : "disabled: it is not started with mtd";
    if (!as_in_file)
      text += enabled ? ", though the file says false" : ", though the file says true";
    if (enabled && pool.stopped_by())
      text += "; but it was stopped, and stays so until it is started";
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::enable(const CallRef& call) {
  set_enabled(call, true);
}

void HandlerSet::disable(const CallRef& call) {
  set_enabled(call, false);
}

void HandlerSet::restart(const CallRef& call) {
  const auto targets = selected(call);
  if (!targets) return;
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    const bool stopped = pool.model().summary(sys::now()).state == model::PoolState::stopped;
    goals.push_back(make_goal(stopped ? GoalKind::started : GoalKind::restarted, target, pool));
    pool.set_stopped_by(std::nullopt);
    if (stopped) {
      pool.apply(model::StartCommand{target.slots});
    } else {
      pool.apply(model::RestartCommand{target.slots});
    }
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::scale(const CallRef& call) {
  const auto& parameters = call->parameters();
  const std::string name = parameters.at("pool").get<std::string>();
  PoolRunner* pool = supervisor_.find(name);
  if (pool == nullptr) {
    call->error("NoSuchPool", {{"selector", name}});
    return;
  }
  const bool has_want = parameters.contains("want"), has_delta = parameters.contains("delta");
  const bool reset = parameters.value("reset", false);
  if (static_cast<int>(has_want) + static_cast<int>(has_delta) + static_cast<int>(reset) != 1) {
    invalid(call, "want", "exactly one of want, delta and reset has to be given");
    return;
  }
  const auto view = pool->model().summary(sys::now());
  const auto before = static_cast<std::int64_t>(view.want);
  if (parameters.contains("current") && parameters.at("current").get<std::int64_t>() != before) {
    call->error("Conflict",
                {{"message", name + " has " + std::to_string(before) + " workers, not " +
                                 std::to_string(parameters.at("current").get<std::int64_t>())}});
    return;
  }
  std::int64_t want = has_want ? parameters.at("want").get<std::int64_t>() : view.want_file;
  if (has_delta) {
    const auto delta = parameters.at("delta").get<std::int64_t>();
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    want = delta < -kMost || delta > kMost ? -1 : before + delta;
  }
  if (want < 0) {
    invalid(call, has_delta ? "delta" : "want",
            "the number of workers cannot be " + std::to_string(want) + "; the least is 0");
    return;
  }
  const std::uint64_t others = supervisor_.wanted_processes() - view.want;
  if (static_cast<std::uint64_t>(want) > view.want &&
      others + static_cast<std::uint64_t>(want) > supervisor_.capacity()) {
    call->error(
        "Failed",
        {{"message", "with " + std::to_string(want) + " workers of " + name + " all pools have " +
                         std::to_string(others + static_cast<std::uint64_t>(want)) +
                         ", but there is room for " + std::to_string(supervisor_.capacity())}});
    return;
  }
  Goal goal = make_goal(GoalKind::scaled, {name, {}}, *pool);
  const auto number = static_cast<std::uint32_t>(want);
  pool->apply(model::ScaleCommand{reset ? std::nullopt : std::optional<std::uint32_t>(number)});
  supervisor_.changed();
  const auto reply = [call, name, before, number, file = view.want_file] {
    call->reply({{"pool", name}, {"before", before}, {"want", number}, {"want_file", file}});
    return true;
  };
  if (!parameters.value("wait", true)) {
    reply();
    return;
  }
  supervisor_.waits().add(call, [this, call, goal = std::move(goal), reply] {
    const Judgement judgement = judge(goal, supervisor_);
    if (judgement.verdict == Verdict::pending) {
      supervisor_.waits().look_again_at(judgement.again);
      return false;
    }
    if (judgement.verdict == Verdict::reached) return reply();
    call->error("Failed", {{"message", goal.target.pool + ": " + judgement.reason},
                           {"pools", json::array({result_json(goal, judgement, supervisor_)})}});
    return true;
  });
}

void HandlerSet::reload(const CallRef& call) {
  const std::string pool = call->parameters().value("pool", std::string());
  supervisor_.reload(pool, [this, call](const ReloadOutcome& outcome) {
    if (!outcome.errors.empty()) {
      call->error("InvalidConfiguration", {{"errors", outcome.errors}});
      return;
    }
    std::vector<Goal> goals;
    for (const auto& change : outcome.plan.pools) {
      PoolRunner* changed = supervisor_.find(change.pool);
      const auto signalled = outcome.signalled.find(change.pool);
      const bool untouched =
          change.apply == config::Apply::unchanged && signalled == outcome.signalled.end();
      if (untouched || changed == nullptr) continue;
      const bool removed = change.apply == config::Apply::remove;
      goals.push_back(
          make_goal(removed ? GoalKind::removed : GoalKind::reloaded, {change.pool, {}}, *changed));
      if (signalled == outcome.signalled.end()) continue;
      const auto& signal = changed->model().spec().reload.signal;
      goals.back().done_text = "SIG" + signal_name(signal) + " sent to " +
                               std::to_string(signalled->second) +
                               (signalled->second == 1 ? " worker" : " workers");
    }
    answer_when(call, std::move(goals),
                {{"plan", plan_json(outcome.plan)}, {"config_rev", supervisor_.config_revision()}});
  });
}

void HandlerSet::rollout(const CallRef& call) {
  const auto& parameters = call->parameters();
  const std::string name = parameters.at("pool").get<std::string>();
  const std::string action = parameters.at("action").get<std::string>();
  PoolRunner* pool = supervisor_.find(name);
  if (pool == nullptr) {
    call->error("NoSuchPool", {{"selector", name}});
    return;
  }
  const auto failed = [&](const std::string& message) {
    call->error("Failed", {{"message", name + ": " + message}});
  };
  const model::RolloutState state = pool->model().summary(sys::now()).rollout.state;
  if (action == "undo") {
    if (!pool->model().previous()) return failed("there is no earlier revision to go back to");
    const ReloadOutcome outcome = supervisor_.undo(*pool);
    if (!outcome.errors.empty()) return failed(outcome.errors.front());
    std::vector<Goal> goals;
    goals.push_back(make_goal(GoalKind::reloaded, {name, {}}, *pool));
    answer_when(call, std::move(goals), json::object());
    return;
  }
  if (action != "pause" && action != "resume") {
    invalid(call, "action", "pause, resume or undo, not " + action);
    return;
  }
  const bool pause = action == "pause";
  if (pause && state == model::RolloutState::none) return failed("no roll-out is under way");
  if (!pause && state != model::RolloutState::paused) return failed("no roll-out is paused");
  pool->apply(
      model::RolloutCommand{pause ? model::RolloutOrder::pause : model::RolloutOrder::resume});
  supervisor_.changed();
  std::vector<Goal> goals;
  goals.push_back(make_goal(pause ? GoalKind::at_once : GoalKind::reloaded, {name, {}}, *pool));
  goals.back().done_text = pause ? "paused; workers being replaced come to their end" : "";
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::signal(const CallRef& call) {
  const auto& parameters = call->parameters();
  const auto number = parse_signal(parameters.at("signal").get<std::string>());
  if (!number) {
    invalid(call, "signal", number.error().message);
    return;
  }
  const std::string whom = parameters.value("whom", std::string("main"));
  config::StopScope scope = config::StopScope::process;
  if (whom == "group") {
    scope = config::StopScope::group;
  } else if (whom == "tree") {
    scope = config::StopScope::tree;
  } else if (whom != "main") {
    invalid(call, "whom", "main, group or tree, not " + whom);
    return;
  }
  const auto targets = selected(call);
  if (!targets) return;
  std::size_t sent = 0;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    std::vector<model::WorkerKey> keys;
    for (const auto& entry : pool.workers()) {
      const auto slot = entry.first.slot;
      if (target.whole() || std::binary_search(target.slots.begin(), target.slots.end(), slot)) {
        keys.push_back(entry.first);
      }
    }
    sent += pool.signal(keys, number->value, scope);
  }
  call->reply({{"sent", sent}});
}

void HandlerSet::reset_failed(const CallRef& call) {
  const auto targets = selected(call);
  if (!targets) return;
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    pool.apply(model::ResetFailedCommand{target.slots});
    goals.push_back(make_goal(GoalKind::at_once, target, pool));
    goals.back().done_text = "failures are forgotten";
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::set_frozen(const CallRef& call, bool frozen) {
  const auto targets = selected(call);
  if (!targets) return;
  for (const auto& target : *targets) {
    if (target.whole()) continue;
    invalid(call, "select", "only whole pools can be frozen, not single workers of " + target.pool);
    return;
  }
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    pool.apply(model::FreezeCommand{frozen});
    goals.push_back(make_goal(GoalKind::at_once, target, pool));
    goals.back().done_text = frozen ? "frozen" : "thawed";
  }
  supervisor_.changed();
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::freeze(const CallRef& call) {
  set_frozen(call, true);
}

void HandlerSet::thaw(const CallRef& call) {
  set_frozen(call, false);
}

void HandlerSet::wait(const CallRef& call) {
  const std::string what = call->parameters().at("for").get<std::string>();
  if (what != "ready" && what != "stopped") {
    invalid(call, "for", "ready or stopped, not " + what);
    return;
  }
  const auto targets = selected(call);
  if (!targets) return;
  std::vector<Goal> goals;
  for (const auto& target : *targets) {
    const GoalKind kind = what == "ready" ? GoalKind::ready : GoalKind::stopped;
    goals.push_back(make_goal(kind, target, *supervisor_.find(target.pool)));
  }
  answer_when(call, std::move(goals), json::object());
}

void HandlerSet::upgrade(const CallRef& call) {
  const auto& parameters = call->parameters();
  if (!parameters.contains("follow")) {
    supervisor_.begin_upgrade([call](const Result<keeper::UpgradeState>& begun) {
      if (begun) {
        call->reply(upgrade_json(*begun));
      } else {
        call->error(begun.error().errno_value == EBUSY ? "Conflict" : "Failed",
                    {{"message", begun.error().message}});
      }
    });
    return;
  }
  const auto number = parameters.at("follow").get<std::int64_t>();
  supervisor_.waits().add(call, [this, call, number] {
    const auto& state = supervisor_.upgrade_state();
    if (number != state.number) {
      call->error("Failed", {{"message", "the last upgrade of this daemon is number " +
                                             std::to_string(state.number) + ", not " +
                                             std::to_string(number)}});
      return true;
    }
    if (state.step == keeper::UpgradeStep::failed) {
      call->error("Failed", {{"message", fault_text(state)}});
      return true;
    }
    if (state.step != keeper::UpgradeStep::done) return false;
    call->reply(upgrade_json(state));
    return true;
  });
}

void HandlerSet::shutdown(const CallRef& call) {
  const bool now = call->parameters().value("now", false);
  spdlog::info("shutdown asked for by uid {}", call->peer().credentials.uid);
  supervisor_.begin_stop(now);
  if (!call->parameters().value("wait", true)) {
    call->reply(json::object());
    return;
  }
  supervisor_.waits().add(call, [this, call] {
    for (const auto& entry : supervisor_.pools()) {
      if (!entry.second->is_empty()) return false;
    }
    call->reply(json::object());
    return true;
  });
}

}  // namespace mtd::supervisor
