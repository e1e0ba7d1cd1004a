#include "daemon/sys/journal_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mtd::sys {

Result<UniqueFd> open_journal_stream(const std::string& identifier, const char* socket_path) {
  const auto failed = [&](int error) {
    if (error == EAGAIN)
      return Error{"the journal takes no more streams: its daemon is busy or hangs"};
    return Error::from_errno("open a stream to the journal", error);
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(socket_path) >= sizeof address.sun_path) return failed(ENAMETOOLONG);
  std::strcpy(address.sun_path, socket_path);
  // connect(2) waits where the queue of the journal's socket is full, unless told not to.
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed(errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed(errno);
  if (::shutdown(fd.get(), SHUT_RD) != 0) return failed(errno);
  constexpr int kSendBuffer = 8 << 20;  // best effort: a bigger one rides out a slow journal
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  // Identifier, unit, priority, whether lines may begin with a priority of their own, and whether
  // to pass them on to syslog, kmsg, console.
  const std::string header = identifier + "\n\n" + std::to_string(LOG_INFO) + "\n1\n0\n0\n0\n";
  const ssize_t sent = ::send(fd.get(), header.data(), header.size(), MSG_NOSIGNAL);
  if (sent < 0) return failed(errno);
  if (static_cast<std::size_t>(sent) != header.size()) return failed(EMSGSIZE);
  // Workers write as to any standard output.
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) return failed(errno);
  return fd;
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
