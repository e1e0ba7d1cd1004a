// Small readings of /proc that cannot hang: stat, comm, cgroup, children. Never environ or cmdline,
// which wait for the memory of a process that may be stuck (those belong to proc_scan, in a
// helper).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// At most `limit` bytes of a small file; an Error with errno.
[[nodiscard]] Result<std::string> read_small_file(const std::string& path,
                                                  std::size_t limit = 64 * 1024);
[[nodiscard]] Result<std::string> read_small_file_at(int directory, const char* name,
                                                     std::size_t limit = 64 * 1024);

// The number that follows, over spaces; nothing if there is none, as in "max".
[[nodiscard]] std::optional<std::uint64_t> number_at(std::string_view text);

// Not in a PID namespace that kept its parent's /proc: there the same numbers are other processes.
// What follows takes such a /proc for none.
[[nodiscard]] bool proc_is_ours();

[[nodiscard]] pid_t own_pid();
[[nodiscard]] bool process_exists(pid_t pid);  // zombies too
// Is this process's parent another one than `parent`, which is gone then? Waits for it up to
// `patience`.
[[nodiscard]] bool is_orphaned(pid_t parent, Duration patience);
[[nodiscard]] std::optional<pid_t> parent_of(pid_t pid);
[[nodiscard]] std::string comm_of(pid_t pid);            // empty when gone
[[nodiscard]] std::string unified_cgroup_of(pid_t pid);  // the 0:: path; empty when gone or none
// Direct children; nothing when /proc does not tell.
[[nodiscard]] std::optional<std::vector<pid_t>> children_of(pid_t pid);

[[nodiscard]] UniqueFd open_pidfd(pid_t pid);  // empty when gone
[[nodiscard]] Result<void> signal_pidfd(const UniqueFd& pidfd, int signal);

}  // namespace mtd::sys
