// Small files that outlive the process, not the machine: nothing here is synced. Private (0600), no
// link is followed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::sys {

// Makes the directory (0700) unless it is there.
[[nodiscard]] Result<void> make_private_directory(const std::string& path);
// Adds the bytes at the end of the file, which is made if need be: all of them, or none that count.
[[nodiscard]] Result<void> append_file(const std::string& path, std::string_view bytes);
// All of it, at most `limit` bytes; empty where there is none.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t limit);
// Of regular files; empty where it cannot be read.
[[nodiscard]] std::vector<std::string> file_names(const std::string& directory);
void remove_file(const std::string& path);

}  // namespace mtd::sys
