// What happened to each pool that a command asked for: "web: stopped in 1.3s (6 exited, 2 killed)".
#pragma once

#include <string>
#include <vector>

#include "ctl/commands.h"
#include "ctl/json.h"

namespace mtd::ctl {

// One line a pool of reply.pools; after it the processes that could not be ended.
[[nodiscard]] std::string render_pools(const Json& reply, const Screen& screen);
// In the format asked for; nothing with -q.
void print_pools(const Context& context, const Json& reply);
// The words of the command line; with --all the pattern for all.
[[nodiscard]] std::vector<std::string> selectors(const Context& context);

}  // namespace mtd::ctl
