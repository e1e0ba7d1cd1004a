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

struct RequestSize {
  Type type;
  std::size_t size;
};
// All that a role may ask for, the most frequent ones first.
constexpr RequestSize kRequests[] = {
    {Type::spawn, sizeof(Spawn)},       {Type::signal, sizeof(Signal)},
    {Type::release, sizeof(Release)},   {Type::hold, sizeof(Hold)},
    {Type::drop, sizeof(Drop)},         {Type::pong, sizeof(Pong)},
    {Type::notify, sizeof(Notify)},     {Type::revision, sizeof(Revision)},
    {Type::forget, sizeof(Forget)},     {Type::list, sizeof(List)},
    {Type::fetch, sizeof(Fetch)},       {Type::ready, sizeof(Ready)},
    {Type::snapshot, sizeof(Snapshot)}, {Type::upgrade, sizeof(Upgrade)},
    {Type::finish, sizeof(Finish)},
};

// 0: there is no such request.
std::size_t size_of(Type type) {
  for (const RequestSize& request : kRequests) {
    if (request.type == type) return request.size;
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
