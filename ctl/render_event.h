// One event of the daemon as a line for people.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ctl/screen.h"

namespace mtd::ctl {

// "2026-11-21T18:04:06.123Z  web/3  exited  pid 812, signal 9 (KILL), backoff, retry in 500ms"
[[nodiscard]] std::string render_event(const Json& event, const Screen& screen);

}  // namespace mtd::ctl
