#include "daemon/sys/durable_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/unique_fd.h"

namespace mtd::sys {

std::string directory_above(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<bool> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno == EEXIST) return false;
    return Error::from_errno("make " + path, errno);
  }
  const auto kept = sync_directory(directory_above(path));
  // Whoever may make names in a directory need not be allowed to open it.
  if (!kept && kept.error().errno_value != EACCES) return kept.error();
  return true;
}

Result<void> sync_directory(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return Error::from_errno("open " + path, errno);
  int synced = 0;
  do {
    synced = ::fsync(directory.get());
  } while (synced != 0 && errno == EINTR);
  // EINVAL: a file system that has nothing to sync in a directory.
  if (synced != 0 && errno != EINVAL) return Error::from_errno("sync " + path, errno);
  return {};
}

}  // namespace mtd::sys
