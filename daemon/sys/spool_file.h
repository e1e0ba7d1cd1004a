// Files that outlive the process, and the machine as well once they are synced. Private (0600), no
// link is followed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// Makes the directory (0700) unless it is there.
[[nodiscard]] Result<void> make_private_directory(const std::string& path);
// Adds the bytes at the end of the file, which is made if need be: all of them, or none that count.
[[nodiscard]] Result<void> append_file(const std::string& path, std::string_view bytes);
// A regular file; no other.
[[nodiscard]] Result<UniqueFd> open_to_read(const std::string& path);
// As many of `size` bytes as there are from `offset` on.
[[nodiscard]] Result<std::size_t> read_at(int file, char* to, std::size_t size,
                                          std::uint64_t offset);
// 0 where there is none.
[[nodiscard]] std::uint64_t file_size(const std::string& path);
[[nodiscard]] Result<void> cut_file(const std::string& path, std::uint64_t size);
// The file and its name are on the disk when this returns. One that is not there is no error.
[[nodiscard]] Result<void> sync_file(const std::string& directory, const std::string& name);
// Of regular files; empty where it cannot be read.
[[nodiscard]] std::vector<std::string> file_names(const std::string& directory);
void remove_file(const std::string& path);

}  // namespace mtd::sys
