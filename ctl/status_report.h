// The daemon's answer to Status, put together: {"api":1,"daemon":{…},"pools":[{…,"workers":[…]}]}.
#pragma once

#include <string>
#include <vector>

#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/session.h"

namespace mtd::ctl {

// `with_workers`: the workers of every selected pool, with CPU and RSS from /proc.
[[nodiscard]] Outcome<Json> fetch_status(Session& session, const std::vector<std::string>& select,
                                         bool with_workers);
// Adds the pools of one more piece: workers go to the pool of their name.
void merge_piece(Json& report, const Json& piece);
// ok, or not_ready when something that was asked for is not running and ready. `select` tells
// whether a pool or single workers of it were meant.
[[nodiscard]] CtlExit readiness(const Json& report, const std::vector<std::string>& select);

}  // namespace mtd::ctl
