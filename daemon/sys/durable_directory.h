// Directories that outlive the machine's power: a name is on the disk when the directory in which
// it stands has been synced (fsync(2)).
#pragma once

#include <sys/types.h>

#include <string>

#include "common/result.h"

namespace mtd::sys {

// Makes the directory unless something is there; true: it has been made, and its name is kept.
[[nodiscard]] Result<bool> make_directory(const std::string& path, mode_t mode);
// In which the name stands that the path ends with.
[[nodiscard]] std::string directory_above(const std::string& path);
// The names in it are kept.
[[nodiscard]] Result<void> sync_directory(const std::string& path);

}  // namespace mtd::sys
