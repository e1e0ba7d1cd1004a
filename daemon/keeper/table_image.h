// The keeper's memory as bytes: what one keeper writes and its successor, of this release or a
// neighbouring one, reads. A header with version, size and checksum, then sections of equal
// elements. An element may grow at its end from one version to the next: a reader takes what it
// knows, and what is missing has its default; a section it does not know it skips.
//
// Reading believes nothing: whatever is wrong is refused with a reason, before anything is adopted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

inline constexpr std::uint32_t kTableVersion = 1;
inline constexpr std::uint64_t kMaxImageBytes = std::uint64_t{1} << 30;

[[nodiscard]] std::uint64_t checksum(const char* bytes, std::uint64_t size,
                                     std::uint64_t hash = 0xcbf29ce484222325ULL);

// 0, or the errno of the write that failed. `file` is empty before.
[[nodiscard]] int write_image(const Keeper& keeper, int file);
// A sealed memory file with the image; -1 with errno.
[[nodiscard]] int make_image(const Keeper& keeper);

// Fills settings, table (which it maps), role and counters of a fresh keeper. nullptr, or why not.
[[nodiscard]] const char* read_image(const char* bytes, std::uint64_t size, Keeper& keeper);
[[nodiscard]] const char* read_image_file(int file, Keeper& keeper);

// Every descriptor that a keeper owns, each of which must be open: made to survive the next execve,
// or not. False: one is not open.
[[nodiscard]] bool set_inheritable(const Keeper& keeper, bool inheritable);

}  // namespace mtd::keeper
