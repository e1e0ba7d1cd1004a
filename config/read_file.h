// Reads a small text file without being held up or fooled by what stands in its place.
//
// Never blocks on a FIFO or device, never reads more than the limit, and judges owner and mode of
// the very descriptor it reads from.
#pragma once

#include <string>

#include "common/result.h"

namespace mtd::config {

inline constexpr std::size_t kMaxFileBytes = 1024 * 1024;

// With `check_ownership`: the file and the directory it is in must belong to root or to this user
// and be writable by nobody else (a sticky directory excepted).
[[nodiscard]] Result<std::string> read_file(const std::string& path, bool check_ownership);

// Of a directory that configuration files are taken from; the same rules.
[[nodiscard]] Result<void> check_directory(const std::string& path);

}  // namespace mtd::config
