#include "client/cpp/frame_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/task_frames.h"

namespace mtd::client {
namespace {

constexpr std::size_t kBlock = 256u * 1024;
constexpr std::size_t kRoom = 64u * 1024;    // that is left for the next read
constexpr int kLookAgainMs = 20;             // whether there is room, whatever poll() says
constexpr std::size_t kKept = 1024u * 1024;  // of a buffer that was once larger

}  // namespace

FrameSocket::FrameSocket(UniqueFd socket, std::size_t max_body)
    : socket_(std::move(socket)), max_body_(max_body) {}

void FrameSocket::send(std::string_view bytes) {
  if (ended_ || !is_open()) return;
  out_ += bytes;
}

void FrameSocket::flush() {
  while (backlog() > 0) {
    const ssize_t sent = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0) {  // gone; what it had said is read all the same
      sent_ = out_.size();
      break;
    }
    sent_ += static_cast<std::size_t>(sent);
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ > kBlock) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
}

// Waits in send(), not in poll(): to poll() a stream is writable when three quarters of its buffer
// are free, which never comes while the other end looks at a frame that is not whole yet and leaves
// it there (af_unix.c, unix_writable).
void FrameSocket::flush_all() {
  for (flush(); backlog() > 0; flush()) {
    const ssize_t sent =
        ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (sent >= 0) {
      sent_ += static_cast<std::size_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      sent_ = out_.size();
      continue;
    }
    // Its owner has made it one that does not wait.
    pollfd entry{socket_.get(), POLLOUT, 0};
    if (::poll(&entry, 1, kLookAgainMs) < 0 && errno != EINTR) return;
  }
}

void FrameSocket::make_room() {
  if (filled_ > taken_) std::memmove(in_.data(), in_.data() + taken_, filled_ - taken_);
  filled_ -= std::exchange(taken_, 0);
  if (filled_ == 0 && in_.size() > kKept) in_ = {};
}

FrameSocket::Got FrameSocket::read(int flags) {
  if (in_.size() - filled_ < kRoom) in_.resize(in_.size() + kBlock);
  const std::size_t room = in_.size() - filled_;
  const ssize_t got = ::recv(socket_.get(), in_.data() + filled_, room, flags);
  if (got < 0 && errno == EINTR) return Got::a_signal;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Got::nothing;
  if (got <= 0) {
    ended_ = true;
    return Got::nothing;
  }
  filled_ += static_cast<std::size_t>(got);
  received_ += static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got) == room ? Got::all_there_was_room_for : Got::some;
}

void FrameSocket::receive() {
  if (ended_ || !is_open()) return;
  make_room();
  while (read(MSG_DONTWAIT) == Got::all_there_was_room_for) {
  }
}

void FrameSocket::receive_some() {
  if (ended_ || !is_open()) return;
  make_room();
  if (backlog() == 0 && (read(0) != Got::nothing || limit_ms_ >= 0)) return;
  if (ended_) return;
  // There is something to write too, or its owner has made the socket one that does not wait.
  const short events = static_cast<short>(POLLIN | (backlog() > 0 ? POLLOUT : 0));
  pollfd entry{socket_.get(), events, 0};
  if (::poll(&entry, 1, limit_ms_) <= 0) return;
  flush();
  receive();
}

void FrameSocket::limit_waits(Duration at_most) {
  constexpr std::int64_t kMost = 1'000'000'000;
  limit_ms_ = static_cast<int>(std::clamp<std::int64_t>(at_most.count_ms(), 1, kMost));
  const timeval limit{limit_ms_ / 1000, (limit_ms_ % 1000) * 1000};
  ::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int flags = ::fcntl(fd(), F_GETFL);
  ::fcntl(fd(), F_SETFL, flags & ~O_NONBLOCK);
}

Result<std::optional<Message>> FrameSocket::take() {
  const auto found = task_frames::first_frame({in_.data() + taken_, filled_ - taken_}, max_body_);
  if (!found) return found.error();
  if (!*found) return std::optional<Message>();
  Message message{std::string((*found)->line), std::nullopt};
  if ((*found)->body) message.body.emplace(*(*found)->body);
  taken_ += (*found)->size;
  return std::optional(std::move(message));
}

}  // namespace mtd::client
