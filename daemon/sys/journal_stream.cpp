#include "daemon/sys/journal_stream.h"

#include <poll.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace mtd::sys {

Result<UniqueFd> open_journal_stream(const std::string& identifier) {
  const int fd = sd_journal_stream_fd(identifier.c_str(), LOG_INFO, 1);
  if (fd < 0) return Error::from_errno("open a stream to the journal", -fd);
  return UniqueFd(fd);
}

bool stderr_is_journal() {
  const char* stream = ::secure_getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(2, &info) != 0) return false;
  const std::string own = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  return own == stream;
}

bool under_journal() {
  return ::secure_getenv("JOURNAL_STREAM") != nullptr;
}

bool write_stderr(std::string_view line) {
  // The description is shared with others, so it cannot be made non-blocking: ask first. A pipe
  // that polls writable takes PIPE_BUF bytes at once, and a log line is shorter than that.
  pollfd target{2, POLLOUT, 0};
  if (::poll(&target, 1, 0) != 1 || (target.revents & (POLLOUT | POLLERR | POLLHUP)) != POLLOUT)
    return false;
  return ::write(2, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

}  // namespace mtd::sys
