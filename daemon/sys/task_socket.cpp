#include "daemon/sys/task_socket.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace mtd::sys {
namespace {

Result<std::pair<UniqueFd, UniqueFd>> make_pair_of(int type) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return Error::from_errno("make a pair of sockets", errno);
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

// The kernel counts its own book-keeping for each piece of a message.
bool has_room(int socket, std::size_t bytes) {
  int used = 0, limit = 0;
  socklen_t size = sizeof limit;
  if (::ioctl(socket, SIOCOUTQ, &used) != 0 || used <= 0) return true;
  if (::getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &limit, &size) != 0) return true;
  return static_cast<std::size_t>(used) + bytes + bytes / 4 + 4096 <=
         static_cast<std::size_t>(std::max(limit, 0));
}

}  // namespace

// Blocking at the worker's end, as a program expects it; the broker never waits, whatever it is.
// A worker that does not wait hears that there is room when a quarter of its buffer is used: a
// frame that the broker has not seen whole, and therefore leaves there, has to be less than that.
Result<std::pair<UniqueFd, UniqueFd>> make_task_socket() {
  auto ends = make_pair_of(SOCK_STREAM);
  if (!ends) return ends.error();
  constexpr int kBuffer = 208 * 1024;  // what everybody may ask for; the kernel doubles it
  (void)::setsockopt(ends->second.get(), SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
  return ends;
}

Result<std::pair<UniqueFd, UniqueFd>> make_link() {
  return make_pair_of(SOCK_SEQPACKET);
}

Peeked peek(int socket, char* into, std::size_t room) {
  ssize_t size = 0;
  do {
    size = ::recv(socket, into, room, MSG_PEEK | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size > 0) return {static_cast<std::size_t>(size), false};
  return {0, size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)};
}

void consume(int socket, std::size_t bytes) {
  std::array<char, 16 * 1024> dump;  // never read
  while (bytes > 0) {
    const ssize_t size = ::recv(socket, dump.data(), std::min(bytes, dump.size()), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    bytes -= static_cast<std::size_t>(size);
  }
}

Written write_whole(int socket, std::string_view bytes) {
  if (bytes.size() > kOnePiece && !has_room(socket, bytes.size())) return Written::later;
  ssize_t sent = 0;
  do {
    sent = ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Written::later : Written::gone;
  // A part of a frame would leave the worker with nonsense.
  return static_cast<std::size_t>(sent) == bytes.size() ? Written::done : Written::gone;
}

}  // namespace mtd::sys
