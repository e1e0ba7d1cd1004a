#include "ctl/status_report.h"

#include <algorithm>

#include "ctl/json_access.h"
#include "ctl/process_facts.h"

namespace mtd::ctl {
namespace {

Json* pool_named(Json& pools, const std::string& name) {
  for (Json& pool : pools) {
    if (text(pool, "name") == name) return &pool;
  }
  return nullptr;
}

bool is_working(const std::string& worker_state) {
  return worker_state == "ready" || worker_state == "idle" || worker_state == "busy";
}

bool pool_is_ready(const Json& pool) {
  const std::string state = text(pool, "state");
  return state == "running" || state == "rolling";
}

bool workers_are_ready(const Json& pool) {
  const Json& workers = array(pool, "workers");
  return std::all_of(workers.begin(), workers.end(),
                     [](const Json& worker) { return is_working(text(worker, "state")); });
}

bool whole_pool_is_meant(const std::vector<std::string>& select) {
  return std::any_of(select.begin(), select.end(), [](const std::string& selector) {
    return selector.find('/') == std::string::npos;
  });
}

}  // namespace

void merge_piece(Json& report, const Json& piece) {
  if (const Json& daemon = member(piece, "daemon"); daemon.is_object()) report["daemon"] = daemon;
  for (const Json& pool : array(piece, "pools")) {
    if (!pool.is_object()) continue;
    Json* known = pool_named(report["pools"], text(pool, "name"));
    if (known == nullptr) {
      report["pools"].push_back(pool);
      continue;
    }
    for (const auto& item : pool.items()) {
      if (item.key() != "workers" || !member(*known, "workers").is_array()) {
        (*known)[item.key()] = item.value();
      } else {
        for (const Json& worker : array(pool, "workers"))
          (*known)["workers"].push_back(worker);
      }
    }
  }
}

Outcome<Json> fetch_status(Session& session, const std::vector<std::string>& select,
                           bool with_workers) {
  Json report{{"api", 1}, {"daemon", nullptr}, {"pools", Json::array()}};
  Json parameters = Json::object();
  if (!select.empty()) parameters["select"] = select;
  if (!with_workers) {
    const Outcome<Json> reply = session.call("Status", parameters);
    if (!reply) return reply.failure();
    merge_piece(report, *reply);
    return report;
  }
  if (const auto begun = session.begin("Status", parameters); !begun) return begun.failure();
  for (bool last = false; !last;) {
    const Outcome<Session::Part> part = session.next();
    if (!part) return part.failure();
    merge_piece(report, part->parameters);
    last = part->last;
  }
  for (Json& pool : report["pools"]) {
    if (!member(pool, "workers").is_array()) pool["workers"] = Json::array();
  }
  fill_resource_use(report["pools"],
                    static_cast<int>(integer(report["daemon"], "pid").value_or(-1)));
  return report;
}

CtlExit readiness(const Json& report, const std::vector<std::string>& select) {
  if (select.empty()) return CtlExit::ok;
  const bool pools = whole_pool_is_meant(select);
  for (const Json& pool : array(report, "pools")) {
    if (pools ? !pool_is_ready(pool) : !workers_are_ready(pool)) return CtlExit::not_ready;
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
