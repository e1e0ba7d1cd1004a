// What `mtctl scale` was asked for: "web 4", "web +2", "web -1", "web=4 mail=2", "--reset web
// mail".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/command_line.h"
#include "ctl/outcome.h"

namespace mtd::ctl {

struct ScaleRequest {
  std::string pool;
  std::optional<std::int64_t> want;  // exactly one of want, delta, reset
  std::optional<std::int64_t> delta;
  bool reset = false;
  std::optional<std::int64_t> current;  // only if the pool is asked to have this many now
};

[[nodiscard]] Outcome<std::vector<ScaleRequest>> parse_scale(const Invocation& invocation);

}  // namespace mtd::ctl
