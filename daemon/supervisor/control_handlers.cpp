#include "daemon/supervisor/control_handlers.h"

#include <array>

#include <nlohmann/json.hpp>

#include "daemon/supervisor/handler_set.h"
#include "daemon/supervisor/supervisor.h"

namespace mtd::supervisor {

using nlohmann::json;

struct HandlerSet::Row {
  std::string_view method;
  void (HandlerSet::*handler)(const CallRef&);
  bool while_stopping;
};

const HandlerSet::Row* HandlerSet::find(std::string_view method) {
  static constexpr std::array kRows{
      Row{"Status", &HandlerSet::status, true},
      Row{"Start", &HandlerSet::start, false},
      Row{"Stop", &HandlerSet::stop, true},
      Row{"Restart", &HandlerSet::restart, false},
      Row{"Scale", &HandlerSet::scale, false},
      Row{"Reload", &HandlerSet::reload, false},
      Row{"Rollout", &HandlerSet::rollout, false},
      Row{"Signal", &HandlerSet::signal, true},
      Row{"Events", &HandlerSet::events, true},
      Row{"Wait", &HandlerSet::wait, true},
      Row{"IsReady", &HandlerSet::is_ready, true},
      Row{"Why", &HandlerSet::why, true},
      Row{"GetConfig", &HandlerSet::get_config, true},
      Row{"ResetFailed", &HandlerSet::reset_failed, false},
      Row{"Enable", &HandlerSet::enable, false},
      Row{"Disable", &HandlerSet::disable, false},
      Row{"Freeze", &HandlerSet::freeze, false},
      Row{"Thaw", &HandlerSet::thaw, true},
      Row{"Tree", &HandlerSet::tree, true},
      Row{"Limits", &HandlerSet::limits, true},
      Row{"Upgrade", &HandlerSet::upgrade, false},
      Row{"Shutdown", &HandlerSet::shutdown, true},
  };
  static_assert(kRows.size() == control::kMethods.size(), "every method has a handler");
  for (const auto& row : kRows) {
    if (row.method == method) return &row;
  }
  return nullptr;
}

bool HandlerSet::handles(std::string_view method) {
  return find(method) != nullptr;
}

void HandlerSet::dispatch(CallRef call) {
  const Row* row = find(call->method().name);
  if (row == nullptr) {
    call->error("org.varlink.service.MethodNotImplemented", {{"method", call->method().name}});
    return;
  }
  if (supervisor_.stopping() && !row->while_stopping) {
    call->error("ShuttingDown", {{"message", "mtd is stopping"}});
    return;
  }
  (this->*row->handler)(call);
}

std::optional<std::vector<SelectedPool>> HandlerSet::selected(const CallRef& call) {
  std::vector<std::string> selectors;
  const auto& parameters = call->parameters();
  if (const auto found = parameters.find("select"); found != parameters.end()) {
    selectors = found->get<std::vector<std::string>>();
  }
  std::vector<std::string> names;
  for (const auto& entry : supervisor_.pools())
    names.push_back(entry.first);
  auto selection = select(selectors, names, [this](std::string_view pool, std::uint32_t slot) {
    return supervisor_.find(pool)->model().has_slot(slot);
  });
  if (const auto* none = std::get_if<NoMatch>(&selection)) {
    call->error(none->worker ? "NoSuchWorker" : "NoSuchPool", {{"selector", none->selector}});
    return std::nullopt;
  }
  return std::get<std::vector<SelectedPool>>(std::move(selection));
}

void HandlerSet::invalid(const CallRef& call, const char* parameter, const std::string& message) {
  call->error("org.varlink.service.InvalidParameter",
              {{"parameter", parameter}, {"message", message}});
}

bool HandlerSet::look(const CallRef& call, const std::vector<Goal>& goals, const json& more_members,
                      bool may_wait) {
  json results = json::array();
  bool pending = false;
  std::string failures;
  for (const auto& goal : goals) {
    const Judgement judgement = judge(goal, supervisor_);
    pending = pending || judgement.verdict == Verdict::pending;
    if (pending && may_wait) {
      supervisor_.waits().look_again_at(judgement.again);
      return false;
    }
    if (judgement.verdict == Verdict::failed) {
      failures += (failures.empty() ? "" : "; ") + goal.target.pool + ": " + judgement.reason;
    }
    results.push_back(result_json(goal, judgement, supervisor_));
  }
  if (!failures.empty()) {
    call->error("Failed", {{"message", failures}, {"pools", results}});
    return true;
  }
  json reply = more_members;
  reply["pools"] = std::move(results);
  call->reply(reply);
  return true;
}

void HandlerSet::answer_when(const CallRef& call, std::vector<Goal> goals, json more_members) {
  if (!call->parameters().value("wait", true)) {
    look(call, goals, more_members, false);
    return;
  }
  supervisor_.waits().add(call,
                          [this, call, goals = std::move(goals), more = std::move(more_members)] {
                            return look(call, goals, more, true);
                          });
}

std::unique_ptr<Dispatcher> make_control_handlers(Supervisor& supervisor) {
  return std::make_unique<HandlerSet>(supervisor);
}

}  // namespace mtd::supervisor
