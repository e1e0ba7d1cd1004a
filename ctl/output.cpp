#include "ctl/output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace mtd::ctl {
namespace {

bool is_device(int fd) {
  struct stat facts {};
  return ::fstat(fd, &facts) == 0 && S_ISCHR(facts.st_mode);
}

}  // namespace

// For as much as a pipe takes at once. False: interrupted.
bool Output::has_room() {
  for (;;) {
    std::array<pollfd, 2> entries{{{fd_, POLLOUT, 0}, {heeded_, POLLIN, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0) continue;  // EINTR
    if (entries[0].revents != 0) return true;
    if (entries[1].revents != 0) return false;
  }
}

void Output::write(std::string_view text) {
  while (usable() && !text.empty()) {
    if (heeded_ >= 0 && !has_room()) {
      reader_gone_ = true;
      return;
    }
    const std::size_t most =
        heeded_ >= 0 ? std::min<std::size_t>(text.size(), PIPE_BUF) : text.size();
    const ssize_t written = ::write(fd_, text.data(), most);
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
