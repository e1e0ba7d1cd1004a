#include "ctl/metrics.h"

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "ctl/json_access.h"

namespace mtd::ctl {
namespace {

enum class Of { daemon, pool, worker };
enum class Kind { gauge, counter };

// THE table of metrics: what is told about whom, and which member of the status holds it.
struct Metric {
  std::string_view name;  // of the family; with the unit at its end
  Of of;
  Kind kind;
  std::string_view unit;    // empty: none
  std::string_view member;  // "breaker.open": of a member
  double scale;             // of the member's value
  std::string_view help;    // a sentence without its full stop
};

constexpr double kSecondsPerMs = 0.001;
constexpr double kOnePerCent = 0.01;

constexpr Metric kMetrics[] = {
    {"mtd_uptime_seconds", Of::daemon, Kind::gauge, "seconds", "uptime_ms", kSecondsPerMs,
     "Time since mtd started"},
    {"mtd_config_revision", Of::daemon, Kind::gauge, "", "config_rev", 1,
     "Number of configurations applied"},
    {"mtd_config_in_sync", Of::daemon, Kind::gauge, "", "config_in_sync", 1,
     "1: the files say what is in force"},
    {"mtd_stray_processes", Of::daemon, Kind::gauge, "", "stray", 1,
     "Processes left behind by workers that have ended"},
    {"mtd_pool_workers_wanted", Of::pool, Kind::gauge, "", "want", 1, "Workers asked for"},
    {"mtd_pool_workers_configured", Of::pool, Kind::gauge, "", "want_file", 1,
     "Workers that the configuration asks for"},
    {"mtd_pool_workers_ready", Of::pool, Kind::gauge, "", "ready", 1, "Workers that are ready"},
    {"mtd_pool_workers_busy", Of::pool, Kind::gauge, "", "busy", 1, "Workers that work on a task"},
    {"mtd_pool_workers_outdated", Of::pool, Kind::gauge, "", "outdated", 1,
     "Workers that run an older revision"},
    {"mtd_pool_tasks_waiting", Of::pool, Kind::gauge, "", "queue.waiting", 1,
     "Tasks that wait for a worker"},
    {"mtd_pool_restarts", Of::pool, Kind::counter, "", "restarts", 1, "Unplanned ends of workers"},
    {"mtd_pool_recycled", Of::pool, Kind::counter, "", "recycled", 1,
     "Planned replacements of workers"},
    {"mtd_pool_spawn_failures", Of::pool, Kind::counter, "", "spawn_failures", 1,
     "Starts that failed before the program ran"},
    {"mtd_pool_breaker_open", Of::pool, Kind::gauge, "", "breaker.open", 1,
     "1: nothing is started because of too many crashes"},
    {"mtd_pool_state_seconds", Of::pool, Kind::gauge, "seconds", "since_ms", kSecondsPerMs,
     "Time since the state of the pool began"},
    {"mtd_worker_uptime_seconds", Of::worker, Kind::gauge, "seconds", "uptime_ms", kSecondsPerMs,
     "Time since the process started"},
    {"mtd_worker_tasks", Of::worker, Kind::gauge, "", "tasks", 1,
     "Tasks that the process has finished"},
    {"mtd_worker_resident_memory_bytes", Of::worker, Kind::gauge, "bytes", "rss_bytes", 1,
     "Resident memory of the process"},
    {"mtd_worker_cpu_ratio", Of::worker, Kind::gauge, "ratio", "cpu_pct", kOnePerCent,
     "Processors in use on average since the process started"},
    {"mtd_worker_restarts", Of::worker, Kind::counter, "", "restarts", 1,
     "Unplanned ends of the slot's processes"},
    {"mtd_worker_recycled", Of::worker, Kind::counter, "", "recycled", 1,
     "Planned replacements of the slot's processes"},
};

std::string label_value(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return result + "\"";
}

std::string number(double value) {
  constexpr std::size_t kRoom = 40;
  std::array<char, kRoom> text{};
  std::snprintf(text.data(), text.size(), "%.15g", value);
  return text.data();
}

// Empty: not known.
std::string value_of(const Metric& metric, const Json& object) {
  const std::size_t dot = metric.member.find('.');
  const Json& value =
      dot == std::string_view::npos
          ? member(object, metric.member)
          : member(member(object, metric.member.substr(0, dot)), metric.member.substr(dot + 1));
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  return value.is_number() ? number(value.get<double>() * metric.scale) : std::string();
}

std::string family(std::string_view name, std::string_view type, std::string_view unit,
                   std::string_view help) {
  const std::string begin(name);
  return "# TYPE " + begin + " " + std::string(type) + "\n" +
         (unit.empty() ? std::string() : "# UNIT " + begin + " " + std::string(unit) + "\n") +
         "# HELP " + begin + " " + std::string(help) + ".\n";
}

std::string sample(const Metric& metric, const std::string& labels, const Json& object) {
  const std::string value = value_of(metric, object);
  if (value.empty()) return {};
  const std::string name =
      std::string(metric.name) + (metric.kind == Kind::counter ? "_total" : "");
  return name + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
}

std::string samples(const Metric& metric, const Json& report) {
  if (metric.of == Of::daemon) return sample(metric, "", member(report, "daemon"));
  std::string result;
  for (const Json& pool : array(report, "pools")) {
    const std::string label = "pool=" + label_value(text(pool, "name"));
    if (metric.of == Of::pool) {
      result += sample(metric, label, pool);
      continue;
    }
    for (const Json& worker : array(pool, "workers"))
      result += sample(metric, label + ",worker=" + label_value(text(worker, "name")), worker);
  }
  return result;
}

std::string versions(const Json& report) {
  return family("mtd_info", "gauge", "", "The daemon") +
         "mtd_info{version=" + label_value(text(member(report, "daemon"), "version")) + "} 1\n";
}

std::string states(const Json& report) {
  std::string result;
  for (const Json& pool : array(report, "pools")) {
    result += "mtd_pool_state{pool=" + label_value(text(pool, "name")) +
              ",state=" + label_value(text(pool, "state")) + "} 1\n";
  }
  return result.empty()
             ? result
             : family("mtd_pool_state", "gauge", "", "The state that the pool is in") + result;
}

}  // namespace

std::string metrics_text(const Json& report) {
  std::string result = versions(report) + states(report);
  for (const Metric& metric : kMetrics) {
    const std::string lines = samples(metric, report);
    if (lines.empty()) continue;
    const std::string_view type = metric.kind == Kind::counter ? "counter" : "gauge";
    result += family(metric.name, type, metric.unit, metric.help) + lines;
  }
  return result + "# EOF\n";
}

}  // namespace mtd::ctl
