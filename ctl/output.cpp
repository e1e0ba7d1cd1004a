#include "ctl/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace mtd::ctl {

void Output::write(std::string_view text) {
  while (usable() && !text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
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
