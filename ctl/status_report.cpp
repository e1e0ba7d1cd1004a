#include "ctl/status_report.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/json_access.h"
#include "ctl/process_facts.h"

namespace mtd::ctl {
namespace {

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

StatusReport::StatusReport()
    : report_(
          std::make_unique<Json>(Json{{"api", 1}, {"daemon", nullptr}, {"pools", Json::array()}})) {
}
StatusReport::~StatusReport() = default;

int StatusReport::keeper_pid() const {
  return static_cast<int>(integer((*report_)["daemon"], "pid").value_or(-1));
}

void StatusReport::add(Json piece) {
  if (!piece.is_object()) return;
  if (Json& daemon = piece["daemon"]; daemon.is_object()) (*report_)["daemon"] = std::move(daemon);
  if (!piece["pools"].is_array()) return;
  fill_resource_use(piece["pools"], keeper_pid());
  for (Json& pool : piece["pools"]) {
    if (pool.is_object()) add_pool(std::move(pool));
  }
}

void StatusReport::add_pool(Json pool) {
  Json& pools = (*report_)["pools"];
  const auto [entry, is_new] = places_.try_emplace(text(pool, "name"), pools.size());
  if (is_new) {
    pools.push_back(std::move(pool));
    return;
  }
  Json& known = pools[entry->second];
  for (auto item = pool.begin(); item != pool.end(); ++item) {
    Json& member = known[item.key()];
    if (item.key() == "workers" && member.is_array() && item->is_array()) {
      for (Json& worker : *item)
        member.push_back(std::move(worker));
    } else {
      member = std::move(*item);
    }
  }
}

Json StatusReport::take(bool with_workers) && {
  for (Json& pool : (*report_)["pools"]) {
    if (with_workers && !member(pool, "workers").is_array()) pool["workers"] = Json::array();
  }
  return std::move(*report_);
}

Outcome<Json> fetch_status(Session& session, const std::vector<std::string>& select,
                           bool with_workers) {
  StatusReport report;
  Json parameters = Json::object();
  if (!select.empty()) parameters["select"] = select;
  if (!with_workers) {
    Outcome<Json> reply = session.call("Status", parameters);
    if (!reply) return reply.failure();
    report.add(*std::move(reply));
    return std::move(report).take(false);
  }
  if (const auto begun = session.begin("Status", parameters); !begun) return begun.failure();
  for (bool last = false; !last;) {
    Outcome<Session::Part> part = session.next();
    if (!part) {
      if (!session.can_begin_again()) return part.failure();
      return fetch_status(session, select, with_workers);  // as often as a session connects
    }
    last = part->last;
    report.add(std::move(part->parameters));
  }
  return std::move(report).take(true);
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
