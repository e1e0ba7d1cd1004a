// Resource limits by the names of getrlimit(2).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/result.h"
#include "config/node.h"
#include "config/pool_spec.h"

namespace mtd::config {

struct RlimitName {
  std::string_view name;  // "nofile"
  int resource;           // RLIMIT_NOFILE
  bool bytes;             // sizes like "64M" make sense
};

// Null when there is no such limit.
[[nodiscard]] const RlimitName* find_rlimit(std::string_view name);
[[nodiscard]] std::string_view closest_rlimit(std::string_view name);

// One member of rlimits: 1024, "soft:hard", {"soft": …, "hard": …}, "infinity".
[[nodiscard]] Result<Rlimit> parse_rlimit(const Node& node);
// What this process may give away at most; infinite: ~0.
[[nodiscard]] std::uint64_t hard_limit(const RlimitName& name);

}  // namespace mtd::config
