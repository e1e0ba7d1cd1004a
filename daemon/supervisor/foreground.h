// Programs that put themselves into the background, where nobody can supervise them: what it looks
// like from outside, and how it is turned off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/supervisor/model/pool.h"

namespace mtd::supervisor {

// The last two ends were an exit with 0 that nobody had asked for: the foreground half of such a
// program ends like that as soon as the other half runs. `exits`: the newest first.
[[nodiscard]] bool looks_daemonized(const std::vector<model::ExitRecord>& exits);

// "nginx -g 'daemon off;'"; empty: not a program that is known for it.
[[nodiscard]] std::string_view foreground_option(std::string_view program);

}  // namespace mtd::supervisor
