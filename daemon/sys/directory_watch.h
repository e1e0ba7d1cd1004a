// DirectoryWatch: tells by inotify(7) that something happened to directories. It says that, and
// under which name; what it means has to be looked up. A flood is one report.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

class DirectoryWatch {
 public:
  enum class Of {
    removals,  // a name in it, or the directory itself, is removed, renamed or replaced by a rename
    changes,   // also: names appear, files are written or get another mode or owner
  };

  DirectoryWatch() = default;
  [[nodiscard]] static Result<DirectoryWatch> create();
  // Readable when there is something to drain; -1 when not created.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Once more for the same directory: no change. A directory of that path that is another one by
  // now: watched too.
  [[nodiscard]] Result<void> add(const std::string& directory, Of of);
  // Takes in all reports. True when one of them counts; the name is empty where the directory
  // itself is meant, or reports were lost.
  bool drain(const std::function<bool(std::string_view name)>& counts) const;

 private:
  explicit DirectoryWatch(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace mtd::sys
