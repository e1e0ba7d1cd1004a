// What a role gives up before it reads the first byte that a stranger wrote.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// Makes the directory (0700) and the one above it if needed, and gives it to these ids if they are
// given, who may then pass through the one above; checks that it is one, no link, and theirs.
[[nodiscard]] Result<void> own_directory(const std::string& path,
                                         std::optional<std::pair<uid_t, gid_t>> ids);
// Whether this process may pass through every directory above `path`; EACCES names the first one
// that it may not.
[[nodiscard]] Result<void> find_way(const std::string& path);
// For good: ids, supplementary groups, capabilities, new privileges.
[[nodiscard]] Result<void> become(uid_t uid, gid_t gid);
// Nobody of the same uid may look into this process, and it leaves no core.
void become_opaque();
// RLIMIT_NOFILE of this process.
[[nodiscard]] std::uint64_t own_descriptor_limit();
// "mtd-broker": what ps shows.
void set_process_name(const char* name);
// Nobody who stops reading, and no signal that means nothing here, may end this process. The keeper
// acts on those that mean something; faults of our own keep their default.
void ignore_strange_signals();

}  // namespace mtd::sys
