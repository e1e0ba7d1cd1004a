// What the service manager is told: sd_notify(3) datagrams, written by the keeper alone, so that
// its pid is the sender (NotifyAccess=main), and the newline of --ready-fd.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

bool notify_manager(const Keeper& keeper, const char* text) {
  const char* path = keeper.settings.notify_socket;
  if (path == nullptr || keeper.settings.notify_fd < 0 || text[0] == '\0') return true;
  sockaddr_un address{};
  const std::size_t length = std::strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return true;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (path[0] == '@' ? 0U : 1U));
  const ssize_t sent =
      sendto(keeper.settings.notify_fd, text, std::strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
             reinterpret_cast<sockaddr*>(&address), size);
  return sent >= 0 || errno != EAGAIN;
}

void announce_ready(Keeper& keeper) {
  keeper.announce_ready_at_ns = kNever;
  if (keeper.announced_ready) return;
  if (!notify_manager(keeper, "READY=1")) {
    keeper.announce_ready_at_ns = keeper.now_ns + kTiming.ready_retry;
    return;
  }
  keeper.announced_ready = true;
  int& fd = keeper.settings.ready_fd;
  if (fd < 0) return;
  while (write(fd, "\n", 1) < 0 && errno == EINTR) {
  }
  // The number of a standard descriptor stays taken: what came there next would get others' output.
  if (fd <= 2 && dup2(keeper.settings.null_fd, fd) == fd) fd = -1;
  close_fd(fd);
}

// Half-time: the keeper vouches for the daemon, and asks the supervisor whether it still answers.
// One that does not is ended and started again by the keeper; the service manager must not end the
// workers for it.
void watchdog_tick(Keeper& keeper) {
  if (keeper.now_ns < keeper.next_watchdog_ns) return;
  const auto half = static_cast<std::int64_t>(keeper.settings.watchdog_usec * 1000 / 2);
  keeper.next_watchdog_ns = keeper.now_ns + half;
  notify_manager(keeper, "WATCHDOG=1");
  Role& role = keeper.role;
  if (role.socket < 0 || role.pong_by_ns != kNever || keeper.ending != Ending::no) return;
  ask_for_pong(keeper);
  role.pong_by_ns = keeper.now_ns + kTiming.pong;
}

}  // namespace mtd::keeper
