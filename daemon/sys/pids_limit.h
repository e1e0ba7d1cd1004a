// How many processes the kernel permits by pids.max of the cgroups that a process is in. The files
// are read when somebody asks; nothing is watched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mtd::sys {

struct PidsLimit {
  std::string directory;   // whose pids.max it is; systemd sets it as TasksMax= of a unit
  std::uint64_t most = 0;  // processes and threads in it and below
  std::uint64_t used = 0;
  [[nodiscard]] std::uint64_t left() const { return used >= most ? 0 : most - used; }
};

// Of `directory` and those above it the one with the least room left; nothing where none of them
// has a limit.
[[nodiscard]] std::optional<PidsLimit> least_pids_limit(std::string directory);
// The same for the caller's own cgroup.
[[nodiscard]] std::optional<PidsLimit> least_pids_limit();
// How often the kernel refused a process or a thread in it because of its pids.max; nothing without
// the pids controller.
[[nodiscard]] std::optional<std::uint64_t> refused_forks(const std::string& directory);

}  // namespace mtd::sys
