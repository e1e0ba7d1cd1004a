#include "client/cpp/frame_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "common/task_frames.h"

namespace mtd::client {
namespace {

constexpr std::size_t kBlock = 256u * 1024;

}  // namespace

FrameSocket::FrameSocket(UniqueFd socket, std::size_t max_body)
    : socket_(std::move(socket)), max_body_(max_body) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
}

void FrameSocket::send(std::string_view bytes) {
  if (ended_ || !is_open()) return;
  out_ += bytes;
}

void FrameSocket::flush() {
  while (backlog() > 0) {
    const ssize_t sent =
        ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
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

void FrameSocket::flush_all() {
  for (flush(); backlog() > 0; flush()) {
    pollfd entry{socket_.get(), POLLOUT, 0};
    if (::poll(&entry, 1, -1) < 0 && errno != EINTR) return;
  }
}

void FrameSocket::receive() {
  if (ended_ || !is_open()) return;
  in_.erase(0, taken_);
  taken_ = 0;
  for (;;) {
    const std::size_t before = in_.size();
    in_.resize(before + kBlock);
    const ssize_t got = ::recv(socket_.get(), in_.data() + before, kBlock, 0);
    const int failure = got < 0 ? errno : 0;
    in_.resize(before + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (failure == EINTR) continue;
    if (failure == EAGAIN || failure == EWOULDBLOCK) return;
    if (got <= 0) {
      ended_ = true;
      return;
    }
    if (static_cast<std::size_t>(got) < kBlock) return;
  }
}

Result<std::optional<Message>> FrameSocket::take() {
  const auto found = task_frames::first_frame(std::string_view(in_).substr(taken_), max_body_);
  if (!found) return found.error();
  if (!*found) return std::optional<Message>();
  Message message{std::string((*found)->line), std::nullopt};
  if ((*found)->body) message.body.emplace(*(*found)->body);
  taken_ += (*found)->size;
  return std::optional(std::move(message));
}

}  // namespace mtd::client
