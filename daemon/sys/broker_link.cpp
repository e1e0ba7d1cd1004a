#include "daemon/sys/broker_link.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace mtd::sys {
namespace {

constexpr std::size_t kMaxMessage = 1024;

enum class Sent { yes, later, gone };

Sent send_now(int socket, const std::string& bytes, int fd, int& error) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return Sent::yes;
  error = errno;
  // Too many descriptors in flight (ETOOMANYREFS): the other end takes them out in time.
  const bool passes =
      errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS;
  return passes ? Sent::later : Sent::gone;
}

template <class Message, class Variant>
Result<Variant> as(std::string_view bytes) {
  if (bytes.size() != sizeof(Message)) return Error{"a message of a wrong size", EPROTO};
  Message message;
  std::memcpy(static_cast<void*>(&message), bytes.data(), sizeof message);
  return Variant(message);
}

Result<broker::Type> type_of(std::string_view bytes) {
  broker::Header header;
  if (bytes.size() < sizeof header) return Error{"a message without a header", EPROTO};
  std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
  if (header.size != bytes.size()) return Error{"a message of a wrong size", EPROTO};
  return header.type;
}

Error strange() {
  return Error{"a message of an unknown type", EPROTO};
}

}  // namespace

Result<ToBroker> decode_to_broker(std::string_view bytes, UniqueFd fd) {
  const auto type = type_of(bytes);
  if (!type) return type.error();
  switch (*type) {
    case broker::Type::welcome:
      return as<broker::Welcome, ToBroker>(bytes);
    case broker::Type::pool:
      return as<broker::Pool, ToBroker>(bytes);
    case broker::Type::pool_gone:
      return as<broker::PoolGone, ToBroker>(bytes);
    case broker::Type::attach: {
      if (bytes.size() != sizeof(broker::Attach)) return Error{"a message of a wrong size", EPROTO};
      AttachedSocket attached;
      std::memcpy(static_cast<void*>(&attached.message), bytes.data(), sizeof attached.message);
      attached.fd = std::move(fd);
      return ToBroker(std::move(attached));
    }
    case broker::Type::drain:
      return as<broker::Drain, ToBroker>(bytes);
    case broker::Type::ended:
      return as<broker::Ended, ToBroker>(bytes);
    case broker::Type::synced:
      return as<broker::Synced, ToBroker>(bytes);
    case broker::Type::stop:
      return as<broker::Stop, ToBroker>(bytes);
    case broker::Type::ping:
      return as<broker::Ping, ToBroker>(bytes);
    case broker::Type::listen:
      if (bytes.size() != sizeof(broker::Listen)) return Error{"a message of a wrong size", EPROTO};
      return ToBroker(NewListener{std::move(fd)});
    case broker::Type::hello:
    case broker::Type::serving:
    case broker::Type::ready:
    case broker::Type::drained:
    case broker::Type::spent:
    case broker::Type::condemned:
    case broker::Type::load:
    case broker::Type::ended_taken:
    case broker::Type::failed:
    case broker::Type::backlog:
    case broker::Type::pong:
    case broker::Type::working:
      break;
  }
  return strange();
}

Result<ToSupervisor> decode_to_supervisor(std::string_view bytes) {
  const auto type = type_of(bytes);
  if (!type) return type.error();
  switch (*type) {
    case broker::Type::hello:
      return as<broker::Hello, ToSupervisor>(bytes);
    case broker::Type::serving:
      return as<broker::Serving, ToSupervisor>(bytes);
    case broker::Type::ready:
      return as<broker::Ready, ToSupervisor>(bytes);
    case broker::Type::drained:
      return as<broker::Drained, ToSupervisor>(bytes);
    case broker::Type::spent:
      return as<broker::Spent, ToSupervisor>(bytes);
    case broker::Type::condemned:
      return as<broker::Condemned, ToSupervisor>(bytes);
    case broker::Type::load:
      return as<broker::Load, ToSupervisor>(bytes);
    case broker::Type::ended_taken:
      return as<broker::EndedTaken, ToSupervisor>(bytes);
    case broker::Type::failed:
      return as<broker::Failed, ToSupervisor>(bytes);
    case broker::Type::backlog:
      return as<broker::Backlog, ToSupervisor>(bytes);
    case broker::Type::pong:
      return as<broker::Pong, ToSupervisor>(bytes);
    case broker::Type::working:
      return as<broker::Working, ToSupervisor>(bytes);
    case broker::Type::welcome:
    case broker::Type::pool:
    case broker::Type::pool_gone:
    case broker::Type::attach:
    case broker::Type::drain:
    case broker::Type::ended:
    case broker::Type::synced:
    case broker::Type::stop:
    case broker::Type::ping:
    case broker::Type::listen:
      break;
  }
  return strange();
}

void BrokerLink::close() {
  socket_.reset();
  outbox_.clear();
  overflown_ = false;
}

void BrokerLink::post(std::string bytes, int fd) {
  if (!socket_) return;
  int error = 0;
  // A broken socket shows in receive() and flush().
  if (outbox_.empty() && send_now(socket_.get(), bytes, fd, error) == Sent::yes) return;
  if (overflown_ || outbox_.size() == kMaxLinkOutbox) {
    overflown_ = true;
    outbox_.clear();
    return;
  }
  outbox_.push_back(
      {std::move(bytes), fd < 0 ? UniqueFd() : UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0))});
}

Result<void> BrokerLink::flush() {
  if (overflown_) return Error{"the other end has not read for too long", ETIMEDOUT};
  while (!outbox_.empty()) {
    int error = 0;
    switch (send_now(socket_.get(), outbox_.front().bytes, outbox_.front().fd.get(), error)) {
      case Sent::yes:
        outbox_.pop_front();
        break;
      case Sent::later:
        return {};
      case Sent::gone:
        return Error::from_errno("send", error);
    }
  }
  return {};
}

Result<std::optional<std::pair<std::string, UniqueFd>>> BrokerLink::receive() {
  using Message = std::pair<std::string, UniqueFd>;
  if (overflown_) return Error{"the other end has not read for too long", ETIMEDOUT};
  std::array<char, kMaxMessage> bytes{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<Message>();
    return Error::from_errno("receive", errno);
  }
  UniqueFd fd;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {  // the last one stays, there is one at most
      int received = -1;
      std::memcpy(&received, CMSG_DATA(at) + i * sizeof(int), sizeof received);
      fd = UniqueFd(received);
    }
  }
  if (size == 0) return Error{"the other end is gone", ECONNRESET};
  if ((message.msg_flags & MSG_TRUNC) != 0) return Error{"too long a message", EPROTO};
  return std::optional<Message>(
      Message{std::string(bytes.data(), static_cast<std::size_t>(size)), std::move(fd)});
}

}  // namespace mtd::sys
