#include "ctl/json_output.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace mtd::ctl {
namespace {

using Names = std::vector<std::string_view>;

const Names kRoot{"api",    "cursor",      "time",   "daemon",     "pool",      "worker",
                  "pid",    "incarnation", "event",  "state",      "last_exit", "next_attempt_ms",
                  "detail", "missed",      "plan",   "config_rev", "pools",     "workers",
                  "limits", "host",        "before", "want",       "want_file"};
const Names kDaemon{
    "version",        "pid",          "supervisor_pid", "uptime_ms",     "config_rev",
    "config_in_sync", "config_error", "config_path",    "workers_ready", "workers_want",
    "stray",          "stale_facts",  "warnings"};
const Names kPool{"name",      "state",          "ok",       "message",  "elapsed_ms", "want",
                  "want_file", "ready",          "busy",     "idle",     "queue",      "restarts",
                  "recycled",  "spawn_failures", "revision", "outdated", "since",      "since_ms",
                  "note",      "stopped_by",     "breaker",  "exited",   "killed",     "leftovers",
                  "stuck",     "lines",          "workers"};
const Names kWorker{"id",          "name",        "pid",          "state",
                    "revision",    "incarnation", "started",      "uptime_ms",
                    "tasks",       "task_limit",  "current_task", "rss_bytes",
                    "cpu_pct",     "restarts",    "recycled",     "next_attempt_ms",
                    "status_text", "cgroup",      "ending",       "retiring",
                    "last_exit",   "exits"};
const Names kExit{"cause", "signal",      "signal_name", "code",          "core",
                  "at",    "planned",     "stage",       "errno",         "errno_name",
                  "pid",   "incarnation", "user_cpu_ms", "system_cpu_ms", "max_rss_bytes"};
const Names kOther{"open",  "retry_ms",    "crashes_in_window",
                   "limit", "window_ms",   "name",
                   "used",  "unit",        "note",
                   "pool",  "apply",       "keys",
                   "pools", "daemon_keys", "daemon_restart_keys"};

const Names& order_within(std::string_view parent) {
  if (parent.empty()) return kRoot;
  if (parent == "daemon") return kDaemon;
  if (parent == "pools") return kPool;
  if (parent == "workers" || parent == "retiring") return kWorker;
  if (parent == "last_exit" || parent == "exits") return kExit;
  return kOther;
}

OrderedJson arranged(const Json& value, std::string_view parent) {
  if (value.is_array()) {
    OrderedJson result = OrderedJson::array();
    for (const Json& item : value)
      result.push_back(arranged(item, parent));
    return result;
  }
  if (!value.is_object()) return OrderedJson(value);
  const Names& order = order_within(parent);
  const auto rank = [&](const std::string& name) {
    return std::find(order.begin(), order.end(), name) - order.begin();
  };
  std::vector<std::string> names;
  for (const auto& item : value.items())
    names.push_back(item.key());
  std::stable_sort(names.begin(), names.end(),
                   [&](const std::string& a, const std::string& b) { return rank(a) < rank(b); });
  OrderedJson result = OrderedJson::object();
  for (const std::string& name : names)
    result[name] = arranged(value.at(name), name);
  return result;
}

}  // namespace

OrderedJson in_documented_order(const Json& document) {
  return arranged(document, "");
}

std::string print_json(const Json& document, JsonStyle style) {
  return in_documented_order(document).dump(style.indented ? 2 : -1, ' ', style.ascii,
                                            OrderedJson::error_handler_t::replace) +
         "\n";
}

}  // namespace mtd::ctl
