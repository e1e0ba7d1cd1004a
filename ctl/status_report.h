// The daemon's answer to Status, put together: {"api":1,"daemon":{…},"pools":[{…,"workers":[…]}]}.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/session.h"

namespace mtd::ctl {

// `with_workers`: the workers of every selected pool, with CPU and RSS from /proc.
[[nodiscard]] Outcome<Json> fetch_status(Session& session, const std::vector<std::string>& select,
                                         bool with_workers);

// Puts the pieces of an answer together as they come.
class StatusReport {
 public:
  StatusReport();
  ~StatusReport();
  StatusReport(const StatusReport&) = delete;
  StatusReport& operator=(const StatusReport&) = delete;

  // The parameters of one reply: workers go to the pool of their name, and what /proc says about
  // them is read at once, while the daemon makes the next piece.
  void add(Json piece);
  // `with_workers`: every pool has a list of them, be it empty.
  [[nodiscard]] Json take(bool with_workers) &&;

 private:
  [[nodiscard]] int keeper_pid() const;
  void add_pool(Json pool);

  std::unique_ptr<Json> report_;
  std::unordered_map<std::string, std::size_t> places_;  // of pools in the report, by name
};

// ok, or not_ready when something that was asked for is not running and ready. `select` tells
// whether a pool or single workers of it were meant.
[[nodiscard]] CtlExit readiness(const Json& report, const std::vector<std::string>& select);

}  // namespace mtd::ctl
