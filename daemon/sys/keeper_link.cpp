#include "daemon/sys/keeper_link.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace mtd::sys {
namespace {

constexpr std::size_t kMaxControlFds = 253;  // SCM_MAX_FD: what one message can carry at most

template <std::size_t N>
void copy_text(char (&to)[N], std::string_view text, std::size_t most) {
  std::memcpy(to, text.data(), std::min(text.size(), most));
}

// All descriptors of a received message, owned.
std::vector<UniqueFd> take_descriptors(msghdr& message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

// Of another version as much as both know.
template <class T>
Result<void> read_message(const char* bytes, std::size_t size, T& message) {
  keeper::Header header;
  std::memcpy(&header, bytes, sizeof header);
  if (header.version == keeper::kProtocolVersion && size != sizeof(T)) {
    return Error{"the keeper sent a message of a wrong size", EPROTO};
  }
  std::memcpy(static_cast<void*>(&message), bytes, std::min(size, sizeof(T)));
  return {};
}

template <class T>
Result<std::optional<KeeperMessage>> as(const char* bytes, std::size_t size) {
  T message;
  if (const auto wrong = read_message(bytes, size, message); !wrong) return wrong.error();
  return std::optional<KeeperMessage>(KeeperMessage(message));
}

}  // namespace

Result<std::optional<KeeperMessage>> decode_keeper_message(const char* bytes, std::size_t size,
                                                           std::vector<UniqueFd> fds) {
  keeper::Header header;
  if (size < sizeof header) return Error{"the keeper sent a message without a header", EPROTO};
  std::memcpy(&header, bytes, sizeof header);
  if (!keeper::speaks(header.version)) {
    return Error{"the keeper (mtd) speaks protocol " + std::to_string(header.version) +
                     ", this mtd-supervisor protocol " + std::to_string(keeper::kProtocolVersion) +
                     ": they are of different releases; install both of one release",
                 EPROTO};
  }
  if (header.size != size) return Error{"the keeper sent a message of a wrong size", EPROTO};
  switch (header.type) {
    case keeper::Type::hello:
      return as<keeper::Hello>(bytes, size);
    case keeper::Type::ack:
      return as<keeper::Ack>(bytes, size);
    case keeper::Type::entry:
      return as<keeper::Entry>(bytes, size);
    case keeper::Type::list_end:
      return as<keeper::ListEnd>(bytes, size);
    case keeper::Type::orphans:
      return as<keeper::Orphans>(bytes, size);
    case keeper::Type::daemon_signal:
      return as<keeper::DaemonSignal>(bytes, size);
    case keeper::Type::ping:
      return as<keeper::Ping>(bytes, size);
    case keeper::Type::deaths:
      return as<keeper::Deaths>(bytes, size);
    case keeper::Type::programs:
      return as<keeper::Programs>(bytes, size);
    case keeper::Type::upgrade_state:
      return as<keeper::UpgradeState>(bytes, size);
    case keeper::Type::held: {
      HeldDescriptor held;
      if (const auto wrong = read_message(bytes, size, held.message); !wrong) return wrong.error();
      if (!fds.empty()) held.fd = std::move(fds.front());
      if (held.message.error == 0 && !held.fd) held.message.error = EMFILE;  // lost on the way
      return std::optional<KeeperMessage>(KeeperMessage(std::move(held)));
    }
    case keeper::Type::list:
    case keeper::Type::revision:
    case keeper::Type::forget:
    case keeper::Type::spawn:
    case keeper::Type::signal:
    case keeper::Type::release:
    case keeper::Type::hold:
    case keeper::Type::fetch:
    case keeper::Type::drop:
    case keeper::Type::ready:
    case keeper::Type::notify:
    case keeper::Type::finish:
    case keeper::Type::pong:
    case keeper::Type::snapshot:
    case keeper::Type::upgrade:
      break;
  }
  if (header.version > keeper::kProtocolVersion) return std::optional<KeeperMessage>();
  return Error{"the keeper sent a message of an unknown type", EPROTO};
}

namespace {

Error overflow() {
  return Error{"the keeper has not read its messages for too long", ECONNRESET};
}

enum class Sent { yes, later, gone };

Sent send_now(int socket, const std::vector<char>& bytes, const std::vector<int>& fds, int& error) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxControlFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Sent::yes;
    if (errno == EINTR) continue;
    error = errno;
    // ETOOMANYREFS, ENOBUFS, ENOMEM: the kernel is short of something now; the same message later.
    const bool passing = error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS ||
                         error == ENOMEM || error == ETOOMANYREFS;
    return passing ? Sent::later : Sent::gone;
  }
}

}  // namespace

Result<void> KeeperLink::flush() {
  if (overflown_) return overflow();
  while (!outbox_.empty()) {
    const Outgoing& first = outbox_.front();
    std::vector<int> fds;
    for (const UniqueFd& fd : first.descriptors)
      fds.push_back(fd.get());
    int error = 0;
    switch (send_now(socket_.get(), first.bytes, fds, error)) {
      case Sent::yes:
        outbox_.pop_front();
        break;
      case Sent::later:
        return {};
      case Sent::gone:
        return Error::from_errno("send to the keeper", error);
    }
  }
  return {};
}

Result<std::optional<KeeperMessage>> KeeperLink::receive() {
  if (overflown_) return overflow();
  // With room for what a newer keeper's messages have grown by.
  alignas(keeper::Entry) std::array<char, 4096> bytes{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxControlFds * sizeof(int))> control{};
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
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<KeeperMessage>();
    return Error::from_errno("receive from the keeper", errno);
  }
  std::vector<UniqueFd> fds = take_descriptors(message);
  if (size == 0) return Error{"the keeper is gone", ECONNRESET};
  if ((message.msg_flags & MSG_TRUNC) != 0)
    return Error{"the keeper sent too long a message", EPROTO};
  if ((message.msg_flags & MSG_CTRUNC) != 0) fds.clear();  // never a part of what was sent
  auto decoded =
      decode_keeper_message(bytes.data(), static_cast<std::size_t>(size), std::move(fds));
  if (decoded && decoded->has_value()) {
    if (const auto* ping = std::get_if<keeper::Ping>(&**decoded))
      ping_serial_ = ping->header.serial;
  }
  return decoded;
}

std::uint64_t KeeperLink::post(void* message, std::uint32_t size, keeper::Type type,
                               const std::vector<int>& fds) {
  const std::uint64_t serial = next_serial_++;
  post(message, size, type, serial, fds);
  return serial;
}

void KeeperLink::post(void* message, std::uint32_t size, keeper::Type type, std::uint64_t serial,
                      const std::vector<int>& fds) {
  keeper::Header header;
  header.type = type;
  header.size = size;
  header.serial = serial;
  std::memcpy(message, &header, sizeof header);
  std::vector<char> bytes(static_cast<char*>(message), static_cast<char*>(message) + size);
  int error = 0;
  // A broken socket shows in receive() and flush(); what is queued for a dead keeper is lost
  // anyway.
  if (outbox_.empty() && send_now(socket_.get(), bytes, fds, error) == Sent::yes) return;
  if (overflown_ || outbox_.size() == kMaxOutbox) {
    overflown_ = true;
    outbox_.clear();
    return;
  }
  Outgoing waiting;
  waiting.bytes = std::move(bytes);
  for (const int fd : fds) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) {  // no descriptor is left: sent without, the keeper refuses it by name
      waiting.descriptors.clear();
      break;
    }
    waiting.descriptors.push_back(std::move(copy));
  }
  outbox_.push_back(std::move(waiting));
}

std::uint64_t KeeperLink::list() {
  keeper::List message;
  return post(&message, sizeof message, keeper::Type::list, {});
}

std::uint64_t KeeperLink::revision(std::uint64_t id, int spec_fd, std::uint32_t spec_bytes,
                                   const std::vector<int>& descriptors, std::uint32_t own) {
  keeper::Revision message;
  message.id = id;
  message.spec_bytes = spec_bytes;
  message.descriptors = static_cast<std::uint32_t>(descriptors.size());
  message.own = own;
  std::vector<int> fds{spec_fd};
  fds.insert(fds.end(), descriptors.begin(), descriptors.end());
  return post(&message, sizeof message, keeper::Type::revision, fds);
}

std::uint64_t KeeperLink::forget(std::uint64_t id) {
  keeper::Forget message;
  message.id = id;
  return post(&message, sizeof message, keeper::Type::forget, {});
}

std::uint64_t KeeperLink::spawn(const keeper::Key& key, std::uint64_t revision,
                                std::string_view label, std::uint32_t setup_timeout_ms,
                                int cgroup_fd, const std::vector<int>& own) {
  keeper::Spawn message;
  message.key = key;
  message.revision = revision;
  message.setup_timeout_ms = setup_timeout_ms;
  message.has_cgroup = cgroup_fd >= 0 ? 1 : 0;
  copy_text(message.label, label, keeper::kLabelBytes);
  std::vector<int> fds;
  if (cgroup_fd >= 0) fds.push_back(cgroup_fd);
  fds.insert(fds.end(), own.begin(), own.end());
  return post(&message, sizeof message, keeper::Type::spawn, fds);
}

std::uint64_t KeeperLink::signal(const keeper::Key& key, int signal, keeper::Scope scope) {
  keeper::Signal message;
  message.key = key;
  message.signal = signal;
  message.scope = scope;
  return post(&message, sizeof message, keeper::Type::signal, {});
}

void KeeperLink::release(const keeper::Key& key) {
  keeper::Release message;
  message.key = key;
  post(&message, sizeof message, keeper::Type::release, {});
}

std::uint64_t KeeperLink::hold(std::string_view name, int fd) {
  keeper::Hold message;
  copy_text(message.name, name, keeper::kHoldNameBytes - 1);
  return post(&message, sizeof message, keeper::Type::hold, {fd});
}

std::uint64_t KeeperLink::fetch(std::string_view name) {
  keeper::Fetch message;
  copy_text(message.name, name, keeper::kHoldNameBytes - 1);
  return post(&message, sizeof message, keeper::Type::fetch, {});
}

std::uint64_t KeeperLink::drop(std::string_view name) {
  keeper::Drop message;
  copy_text(message.name, name, keeper::kHoldNameBytes - 1);
  return post(&message, sizeof message, keeper::Type::drop, {});
}

void KeeperLink::ready() {
  keeper::Ready message;
  post(&message, sizeof message, keeper::Type::ready, {});
}

void KeeperLink::notify(std::string_view text) {
  keeper::Notify message;
  copy_text(message.text, text, keeper::kNotifyTextBytes - 1);
  post(&message, sizeof message, keeper::Type::notify, {});
}

void KeeperLink::finish(int code) {
  keeper::Finish message;
  message.code = code;
  post(&message, sizeof message, keeper::Type::finish, {});
}

void KeeperLink::pong() {
  keeper::Pong message;
  post(&message, sizeof message, keeper::Type::pong, ping_serial_, {});
}

std::uint64_t KeeperLink::snapshot() {
  keeper::Snapshot message;
  return post(&message, sizeof message, keeper::Type::snapshot, {});
}

std::uint64_t KeeperLink::upgrade(std::string_view version, int keeper_fd, int supervisor_fd) {
  keeper::Upgrade message;
  copy_text(message.version, version, keeper::kVersionBytes - 1);
  return post(&message, sizeof message, keeper::Type::upgrade, {keeper_fd, supervisor_fd});
}

}  // namespace mtd::sys
