// A small file that is there whole, or not at all, after a crash of the machine: written beside its
// place, synced, renamed, and the directory synced (fsync(2), rename(2)). It may block on a disk:
// only a helper process calls it.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::sys {

// Makes the directory (0700) if it is missing, not its parents. The file's mode is 0600.
[[nodiscard]] Result<void> write_durably(const std::string& directory, const std::string& name,
                                         std::string_view content);
// Empty when there is none. An Error when it is no regular file, not ours, or larger than `limit`
// bytes.
[[nodiscard]] Result<std::string> read_durable(const std::string& directory,
                                               const std::string& name, std::size_t limit);

// Renames a file that cannot be used; what goes wrong with that is of no consequence.
void set_aside(const std::string& directory, const std::string& name, const std::string& to);

// Removes all but the last `count` regular files whose names begin with `prefix`, in the order of
// their names.
void keep_newest(const std::string& directory, const std::string& prefix, std::size_t count);

// $STATE_DIRECTORY, else /var/lib/mtd for root and $XDG_STATE_HOME/mtd or ~/.local/state/mtd for
// others; empty when there is no such place.
[[nodiscard]] std::string default_state_dir();

}  // namespace mtd::sys
