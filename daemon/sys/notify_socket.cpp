#include "daemon/sys/notify_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace mtd::sys {
namespace {

constexpr std::size_t kMessageBytes = 4096;
constexpr std::size_t kMaxStatusBytes = 256;
constexpr std::uint64_t kMaxTasks = 1'000'000;
constexpr int kReceiveBuffer = 4 << 20;

constexpr std::uint64_t kMaxExtension = std::uint64_t{365} * 24 * 3600 * 1'000'000;  // µs
// As the key "watchdog" has it; whatever is longer than a year is none.
constexpr std::uint64_t kMinWatchdog = 10'000, kMaxWatchdog = kMaxExtension;  // µs

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

std::uint64_t parse_tasks(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  std::uint64_t count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return 0;
  return std::min(count, kMaxTasks);
}

void take_control(msghdr& header, Notification& notification) {
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    if (at->cmsg_level != SOL_SOCKET) continue;
    if (at->cmsg_type == SCM_CREDENTIALS) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(at), sizeof(sender));
      notification.pid = sender.pid;
      notification.uid = sender.uid;
    } else if (at->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(at) + i * sizeof(int), sizeof(int));
        ::close(fd);
      }
    }
  }
}

}  // namespace

Notification parse_notification(std::string_view text) {
  Notification notification;
  const bool has_line = text.find('\n') != std::string_view::npos;
  bool assigns = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const auto equals = line.find('=');
    assigns = assigns || equals != std::string_view::npos;
    if (equals == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, equals);
    const std::string_view value = line.substr(equals + 1);
    if (name == "READY") {
      notification.ready = notification.ready || value == "1";
    } else if (name == "STOPPING") {
      notification.stopping = notification.stopping || value == "1";
    } else if (name == "WATCHDOG") {
      notification.alive = notification.alive || value == "1";
      notification.trigger = notification.trigger || value == "trigger";
    } else if (name == "EXTEND_TIMEOUT_USEC") {
      if (const auto usec = parse_number(value))
        notification.extend = std::min(*usec, kMaxExtension);
    } else if (name == "WATCHDOG_USEC") {
      if (const auto usec = parse_number(value))
        notification.watchdog =
            *usec == 0 || *usec > kMaxWatchdog ? 0 : std::max(*usec, kMinWatchdog);
    } else if (name == "STATUS") {
      notification.status = std::string(value.substr(0, kMaxStatusBytes));
    } else if (name == "X_MTD_BUSY") {
      if (value == "1" || value == "0") notification.busy = value == "1";
    } else if (name == "X_MTD_TASKS") {
      notification.tasks = std::min(kMaxTasks, notification.tasks + parse_tasks(value));
    }
  }
  notification.newline = has_line && !assigns;
  return notification;
}

Result<UniqueFd> connect_notify(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    return Error{"the path " + path + " is too long for a socket", ENAMETOOLONG};
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("make a socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return Error::from_errno("connect to " + path, errno);
  return fd;
}

Result<NotifySocket> NotifySocket::prepare(UniqueFd fd) {
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
    return Error::from_errno("ask for credentials on the notify socket", errno);
  }
  // Beyond net.core.rmem_max only with CAP_NET_ADMIN; less is no harm, senders wait then.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(kReceiveBuffer)) !=
      0) {
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
  }
  return NotifySocket(std::move(fd));
}

std::optional<Notification> NotifySocket::peek() const {
  if (!fd_) return std::nullopt;
  std::array<char, kMessageBytes> text;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(253 * sizeof(int))>
      control;
  iovec vector{text.data(), text.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(fd_.get(), &header, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return std::nullopt;
  Notification notification = parse_notification({text.data(), static_cast<std::size_t>(got)});
  take_control(header, notification);
  return notification;
}

void NotifySocket::discard() const {
  char nothing = 0;
  (void)::recv(fd_.get(), &nothing, 0, MSG_DONTWAIT);
}

}  // namespace mtd::sys
