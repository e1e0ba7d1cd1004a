#include "daemon/sys/stream_socket.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace mtd::sys {
namespace {

bool read_credentials(AcceptedSocket& accepted) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(accepted.fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return false;
  }
  accepted.uid = credentials.uid;
  accepted.gid = credentials.gid;
  accepted.pid = credentials.pid;
  return true;
}

// Best effort: without groups a peer can only be allowed less.
void read_groups(AcceptedSocket& accepted) {
  accepted.groups.resize(32);
  while (true) {
    auto size = static_cast<socklen_t>(accepted.groups.size() * sizeof(gid_t));
    if (::getsockopt(accepted.fd.get(), SOL_SOCKET, SO_PEERGROUPS, accepted.groups.data(), &size) ==
        0) {
      accepted.groups.resize(size / sizeof(gid_t));
      accepted.groups.shrink_to_fit();
      return;
    }
    // ERANGE: `size` is what is needed; groups of a peer do not change any more.
    if (errno != ERANGE || size / sizeof(gid_t) <= accepted.groups.size()) break;
    accepted.groups.resize(size / sizeof(gid_t));
  }
  accepted.groups.clear();
}

}  // namespace

AcceptOutcome accept_socket(int listener, AcceptedSocket& accepted) {
  accepted.fd.reset(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!accepted.fd) {
    switch (errno) {
      case EAGAIN:
      case ECONNABORTED:
      case EINTR:
        return AcceptOutcome::nothing_waits;
      case EMFILE:
      case ENFILE:
        return AcceptOutcome::no_descriptors;
      default:
        return AcceptOutcome::failed;
    }
  }
  if (!read_credentials(accepted)) {
    accepted.fd.reset();
    return AcceptOutcome::nothing_waits;
  }
  read_groups(accepted);
  return AcceptOutcome::accepted;
}

Transfer receive_bytes(int fd, std::span<char> into) {
  const ssize_t got = ::recv(fd, into.data(), into.size(), MSG_DONTWAIT);
  if (got > 0) return {Transfer::Outcome::done, static_cast<std::size_t>(got)};
  if (got == 0) return {Transfer::Outcome::ended, 0};
  const bool again = errno == EAGAIN || errno == EINTR;
  return {again ? Transfer::Outcome::would_block : Transfer::Outcome::broken, 0};
}

Transfer send_bytes(int fd, std::string_view bytes) {
  const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return {Transfer::Outcome::done, static_cast<std::size_t>(sent)};
  const bool again = errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
  return {again ? Transfer::Outcome::would_block : Transfer::Outcome::broken, 0};
}

UniqueFd spare_descriptor() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace mtd::sys
