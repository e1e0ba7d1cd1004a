// Small operations on directories of the cgroup file system, by descriptor. cgroupfs is memory:
// none blocks, but end_below, which says how long it waits.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// "mtd." and 16 hexadecimal digits: the cgroup of an mtd that is not alone where it was started.
[[nodiscard]] std::string own_cgroup_name(std::uint64_t instance);
[[nodiscard]] bool is_own_cgroup_name(std::string_view name);

[[nodiscard]] UniqueFd open_cgroup(int at, const char* path);
[[nodiscard]] Result<void> write_cgroup_file(int directory, const char* file,
                                             std::string_view text);
[[nodiscard]] Result<void> move_into_cgroup(int directory, pid_t pid);
void each_subdirectory(int directory, const std::function<void(const char* name)>& visit);
// Those in the cgroup and below it, at most 10 000 in all.
void append_pids(int directory, std::vector<pid_t>& pids);
// Removes it and what was made below; an Error (EBUSY) while processes live in it.
[[nodiscard]] Result<void> remove_cgroup(int parent, const char* name);
// True when nobody but the caller and `keeper` lives directly in it.
[[nodiscard]] bool is_alone(int directory, pid_t keeper);
// Does anyone live in the cgroup `name` of it, or below?
[[nodiscard]] bool is_populated(int directory, const char* name);
// SIGKILL to all in it and below, until nobody is left or `rounds` of 100 ms, counted down, are
// over. `hierarchy`: its path as /proc/PID/cgroup writes it.
void end_below(int directory, const std::string& hierarchy, int& rounds);

inline constexpr int kEndRounds = 20;

}  // namespace mtd::sys
