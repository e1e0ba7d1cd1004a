// Memory behind a descriptor: what one process hands to another, or keeps at the keeper.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

[[nodiscard]] Result<UniqueFd> make_memfd(const char* name);
// Filled and sealed: nobody can change it any more.
[[nodiscard]] Result<UniqueFd> make_sealed_memfd(const char* name, std::string_view content);
// From the beginning; an Error beyond `limit` bytes.
[[nodiscard]] Result<std::string> read_memfd(int fd, std::size_t limit);
[[nodiscard]] Result<void> write_at(int fd, std::uint64_t offset, std::string_view bytes);
[[nodiscard]] Result<std::string> read_at(int fd, std::uint64_t offset, std::size_t size);
[[nodiscard]] std::uint64_t size_of(int fd);
[[nodiscard]] UniqueFd duplicate(int fd);
[[nodiscard]] UniqueFd duplicate_sealed(int fd);  // empty if it is no sealed memory file

}  // namespace mtd::sys
