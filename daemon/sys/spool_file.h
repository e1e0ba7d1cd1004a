// Files that outlive the process, and the machine as well once they are synced. Private (0600), no
// link is followed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

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
// Of regular files; empty where it cannot be read.
[[nodiscard]] std::vector<std::string> file_names(const std::string& directory);
void remove_file(const std::string& path);
// There is none left now of what the kernel has only so many of, or so much: the next time there
// may be. Of its error numbers.
[[nodiscard]] bool is_passing_want(int error);

// A directory whose files can be synced also when no descriptor is left: then it is all of its file
// system that is synced.
class SyncedDirectory {
 public:
  // Makes it (0700) unless it is there; its own name is kept.
  [[nodiscard]] static Result<SyncedDirectory> open(const std::string& path);
  // Knows nothing yet but the name.
  explicit SyncedDirectory(std::string path) : path_(std::move(path)) {}
  // The file and its name are on the disk when this returns. One that is not there is no error.
  [[nodiscard]] Result<void> sync(const std::string& name) const;
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

 private:
  [[nodiscard]] Result<void> sync_as_file(const std::string& name) const;
  [[nodiscard]] bool sync_all() const;

  std::string path_;
  UniqueFd spare_;
};

}  // namespace mtd::sys
