// How much memory processes use, from /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace mtd::sys {

// What of it is resident, shared pages included; cannot hang. 0: gone, or not told.
[[nodiscard]] std::uint64_t resident_bytes(pid_t pid);
// The process and its descendants, those that live; at most 1 000.
[[nodiscard]] std::vector<pid_t> tree_of(pid_t pid);
// Of all of them together, a page that several processes share counting for its part in each. Waits
// for the memory of a process that may be stuck: in a HelperProcess only. Where the kernel does not
// tell it, what is resident.
[[nodiscard]] std::uint64_t proportional_bytes(const std::vector<pid_t>& pids);

}  // namespace mtd::sys
