// Ballast: disk space that is held back for the day when somebody else fills the disk. A file of
// real blocks (posix_fallocate(3)), given up so that what has to be written still can be.
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"

namespace mtd::sys {

class Ballast {
 public:
  Ballast(std::string path, std::uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  // Takes the space, or as much as is missing of it; nothing is left of it when there is not
  // enough.
  [[nodiscard]] Result<void> take() const;
  // Gives it up. False: there was none.
  bool give_up() const;

 private:
  std::string path_;
  std::uint64_t bytes_ = 0;
};

// Makes an empty file (0600) unless there is one.
[[nodiscard]] Result<void> ensure_private_file(const std::string& path);

}  // namespace mtd::sys
