#include "ctl/output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace mtd::ctl {
namespace {

bool is_device(int fd) {
  struct stat facts {};
  return ::fstat(fd, &facts) == 0 && S_ISCHR(facts.st_mode);
}

}  // namespace

void Output::write(std::string_view text) {
  while (usable() && !text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EPIPE || (errno == EIO && is_device(fd_))) {  // EIO: the terminal hung up
      reader_gone_ = true;
    } else if (errno == EAGAIN) {  // someone else made the terminal non-blocking
      pollfd entry{fd_, POLLOUT, 0};
      ::poll(&entry, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
}

}  // namespace mtd::ctl
