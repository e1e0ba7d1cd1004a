// Reading a request from the socket, and the refusal of what is none.
#include "daemon/keeper/request.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace mtd::keeper {
namespace {

void collect_descriptors(msghdr& message, Request& request) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && request.fd_count < kMaxPassed; ++i) {
      std::memcpy(&request.fds[request.fd_count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
    }
  }
}

// The size of a request of this type; 0: there is no such request.
std::size_t size_of(Type type) {
  switch (type) {
    case Type::list:
      return sizeof(List);
    case Type::revision:
      return sizeof(Revision);
    case Type::forget:
      return sizeof(Forget);
    case Type::spawn:
      return sizeof(Spawn);
    case Type::signal:
      return sizeof(Signal);
    case Type::release:
      return sizeof(Release);
    case Type::hold:
      return sizeof(Hold);
    case Type::fetch:
      return sizeof(Fetch);
    case Type::drop:
      return sizeof(Drop);
    case Type::ready:
      return sizeof(Ready);
    case Type::notify:
      return sizeof(Notify);
    case Type::finish:
      return sizeof(Finish);
    case Type::pong:
      return sizeof(Pong);
    case Type::snapshot:
      return sizeof(Snapshot);
    case Type::upgrade:
      return sizeof(Upgrade);
    case Type::hello:
    case Type::ack:
    case Type::entry:
    case Type::list_end:
    case Type::held:
    case Type::orphans:
    case Type::daemon_signal:
    case Type::ping:
    case Type::deaths:
    case Type::programs:
    case Type::upgrade_state:
      break;
  }
  return 0;
}

}  // namespace

Received receive(int socket, Request& request) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassed * sizeof(int))];
  iovec part{request.bytes, sizeof request.bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = 0;
  do {
    size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {  // short of memory now is no end: the message is still there
    const bool later = errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS;
    return later ? Received::nothing : Received::gone;
  }
  collect_descriptors(message, request);
  if (size == 0) {
    request.close_rest();
    return Received::gone;
  }
  request.size = static_cast<std::size_t>(size);
  request.too_long = (message.msg_flags & MSG_TRUNC) != 0;
  request.descriptors_lost = (message.msg_flags & MSG_CTRUNC) != 0;
  return Received::request;
}

int refuse(const Request& request) {
  if (request.too_long) return EMSGSIZE;
  if (request.size < sizeof(Header)) return EINVAL;
  const Header& header = request.header();
  if (!speaks(header.version)) return EPROTO;
  const std::size_t size = size_of(header.type);
  if (size == 0) return ENOSYS;
  if (header.size != request.size) return EINVAL;
  // Of another version: longer than here, or shorter, and what is missing is zero.
  if (size != request.size && header.version == kProtocolVersion) return EINVAL;
  if (request.descriptors_lost && header.type != Type::spawn) return EMFILE;
  return 0;
}

}  // namespace mtd::keeper
