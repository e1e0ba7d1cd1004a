#include "daemon/supervisor/upgrade_text.h"

#include <nlohmann/json.hpp>

#include "common/exit_status.h"
#include "common/result.h"
#include "daemon/sys/keeper_link.h"

namespace mtd::supervisor {
namespace {

using keeper::UpgradeFault;
using keeper::UpgradeStep;

std::string reason(const keeper::UpgradeState& state) {
  switch (state.fault) {
    case UpgradeFault::none:
      return "no reason is known";
    case UpgradeFault::supervisor_died:
      return "the new mtd-supervisor ended before it was ready: " +
             ExitStatus::from_wait(state.error).text();
    case UpgradeFault::supervisor_not_ready:
      return "the new mtd-supervisor was not ready within 10 s";
    case UpgradeFault::spawn_hangs:
      return "a process is stuck in its start" +
             (state.error > 0 ? " (pid " + std::to_string(state.error) + ")" : std::string());
    case UpgradeFault::no_image:
      return Error::from_errno("the process table could not be copied", state.error).message;
    case UpgradeFault::not_executed:
      return Error::from_errno("the new mtd could not be executed", state.error).message;
    case UpgradeFault::table_refused:
      return "the new mtd refused the process table; its reason is in the log";
    case UpgradeFault::stopping:
      return "mtd was asked to stop";
  }
  return {};
}

std::string_view state_name(UpgradeStep step) {
  switch (step) {
    case UpgradeStep::none:
      return "none";
    case UpgradeStep::supervisor:
    case UpgradeStep::keeper:
      return "running";
    case UpgradeStep::done:
      return "done";
    case UpgradeStep::failed:
      return "failed";
  }
  return "none";
}

}  // namespace

std::string versions_text(const keeper::UpgradeState& state) {
  return keeper::text_of(state.from) + " to " + keeper::text_of(state.to);
}

std::string fault_text(const keeper::UpgradeState& state) {
  return reason(state) + "; the old programs go on, no worker was touched";
}

nlohmann::json upgrade_json(const keeper::UpgradeState& state) {
  if (state.number == 0) return nullptr;
  const bool failed = state.step == UpgradeStep::failed;
  return {{"number", state.number},
          {"state", state_name(state.step)},
          {"from", keeper::text_of(state.from)},
          {"to", keeper::text_of(state.to)},
          {"message", failed ? nlohmann::json(fault_text(state)) : nlohmann::json()}};
}

}  // namespace mtd::supervisor
