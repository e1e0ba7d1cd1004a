#include "daemon/sys/ballast.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/unique_fd.h"

namespace mtd::sys {

Result<void> Ballast::take() const {
  const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return Error::from_errno("open " + path_, errno);
  const int refused = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes_));
  if (refused == 0) return {};
  ::unlink(path_.c_str());
  return Error::from_errno("hold back disk space in " + path_, refused);
}

bool Ballast::give_up() const {
  return ::unlink(path_.c_str()) == 0;
}

Result<void> ensure_private_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return Error::from_errno("open " + path, errno);
  return {};
}

}  // namespace mtd::sys
