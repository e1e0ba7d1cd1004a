#include "ctl/commands.h"

#include <nlohmann/json.hpp>

#include "ctl/json_output.h"

namespace mtd::ctl {
namespace {

struct Row {
  std::string_view verb;
  Command command;
};

constexpr Row kCommands[] = {
    {"status", run_status},
    {"start", run_start},
    {"stop", run_stop},
    {"restart", run_restart},
    {"scale", run_scale},
    {"reload", run_reload},
    {"signal", run_signal},
    {"events", run_events},
    {"wait", run_wait},
    {"is-ready", run_is_ready},
    {"why", run_why},
    {"reset-failed", run_reset_failed},
    {"freeze", run_freeze},
    {"thaw", run_thaw},
    {"tree", run_tree},
    {"limits", run_limits},
    {"upgrade", run_upgrade},
    {"shutdown", run_shutdown},
    {"metrics", run_metrics},
    {"config", run_config},
    {"version", run_version},
    {"completion", run_completion},
    {"help", run_help},
    {"rollout", run_rollout},
    {"enable", run_enable},
    {"disable", run_disable},
    // Tasks.
    {"put", run_put},
    {"run", run_run},
    {"map", run_map},
    {"result", run_result},
    {"cancel", run_cancel},
    {"task", run_task},
    {"dead", run_dead},
    {"drain", run_drain},
    {"pool", run_pool},
    {"worker", run_worker},
};

}  // namespace

Command find_command(std::string_view verb) {
  for (const Row& row : kCommands) {
    if (row.verb == verb) return row.command;
  }
  return nullptr;
}

void Context::print(const Json& document) const {
  out.write(print_json(document, {options().format == Format::json, screen.terminal}));
}

}  // namespace mtd::ctl
