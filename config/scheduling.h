// Processors and priorities as the configuration writes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "config/pool_spec.h"

namespace mtd::config {

inline constexpr int kMaxCpu = 1023;  // highest number of a processor

// "0-3,8" → 0, 1, 2, 3, 8. Nothing: it is no such list, or names none.
[[nodiscard]] std::optional<std::vector<int>> parse_cpu_list(std::string_view text);
// The same, a list of numbers, or "per-worker": empty.
[[nodiscard]] std::optional<std::vector<int>> parse_cpu_affinity(const Node& node);
// As it can be read back; "" when nothing is set.
[[nodiscard]] std::string cpu_affinity_text(const CpuAffinity& affinity);

// "idle", "best-effort:3" → the number for ioprio_set(2).
[[nodiscard]] std::optional<int> parse_io_priority(std::string_view text);
[[nodiscard]] std::string io_priority_text(int priority);
inline constexpr int kIoClassShift = 13;
inline constexpr int kIoRealtime = 1;

}  // namespace mtd::config
