// How configuration files change what runs, pool by pool.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ctl/screen.h"

namespace mtd::ctl {

// Of {"pools":[{"pool","apply","keys"}],"daemon_keys":[],"daemon_restart_keys":[]}; unchanged pools
// are left out. Empty when nothing differs.
[[nodiscard]] std::string render_plan(const Json& plan, const Screen& screen);

}  // namespace mtd::ctl
