#include "daemon/broker/worker_socket.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "common/task_frames.h"
#include "daemon/sys/task_socket.h"

namespace mtd::broker {
namespace {

// Edges: what is seen stays in the socket, and must not wake the loop again.
constexpr std::uint32_t kReading = EPOLLIN | EPOLLRDHUP | EPOLLET;

}  // namespace

WorkerSocket::WorkerSocket(sys::EventLoop& loop, UniqueFd socket, std::vector<char>& scratch,
                           Handlers handlers)
    : loop_(loop), socket_(std::move(socket)), scratch_(scratch), handlers_(std::move(handlers)) {}

Result<void> WorkerSocket::start() {
  auto watch = loop_.watch(socket_.get(), kReading, sys::Priority::normal,
                           [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void WorkerSocket::on_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) write();
  // Said once, and perhaps while answers are still in the socket: then no reading finds the end.
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) hung_up_ = true;
  read();
}

void WorkerSocket::read() {
  if (broken_ || ended_ || reading_) return;
  reading_ = true;
  const sys::Peeked peeked = sys::peek(socket_.get(), scratch_.data(), scratch_.size());
  std::string_view bytes(scratch_.data(), peeked.bytes);
  bytes.remove_prefix(std::min(seen_bytes_, bytes.size()));
  while (!broken_) {
    const auto frame = task_frames::first_frame(bytes, task_frames::kMaxWire);
    if (!frame) {
      break_off(frame.error());
      break;
    }
    if (!*frame) break;
    if ((*frame)->size > task_frames::kMaxWire) {
      break_off(Error{"a frame of " + std::to_string((*frame)->size) + " bytes, at most " +
                      std::to_string(task_frames::kMaxWire) + " are allowed; send parts"});
      break;
    }
    early_.clear();
    auto waits = handlers_.frame((*frame)->line, (*frame)->body);
    if (!waits) {
      break_off(waits.error());
      break;
    }
    bytes.remove_prefix((*frame)->size);
    const auto refused = std::find(early_.begin(), early_.end(), waits->value_or(AnswerOf{}));
    if (refused != early_.end()) {
      early_.erase(refused);
      waits->reset();
    }
    seen_.push_back({(*frame)->size, *waits});
    seen_bytes_ += (*frame)->size;
    for (const AnswerOf& other : early_)
      settle_seen(other);
  }
  reading_ = false;
  take_out();
  if ((peeked.ended || hung_up_) && !broken_) {
    ended_ = true;
    watch_ = {};
    handlers_.closed();
  }
}

void WorkerSocket::settle(const AnswerOf& answer) {
  if (reading_) {  // perhaps of the frame that is being looked at
    early_.push_back(answer);
    return;
  }
  settle_seen(answer);
}

// First the worker has what it is to do: taking out wakes whoever waits at the other end, for
// nothing if it has not been woken yet.
void WorkerSocket::flush() {
  write();
  take_out();
}

void WorkerSocket::settle_seen(const AnswerOf& answer) {
  const auto found = std::find_if(seen_.begin(), seen_.end(), [&](const Seen& seen) {
    return seen.waits && *seen.waits == answer;
  });
  if (found != seen_.end()) found->waits.reset();
}

void WorkerSocket::take_out() {
  std::size_t bytes = 0;
  while (!seen_.empty() && !seen_.front().waits) {
    bytes += seen_.front().size;
    seen_.pop_front();
  }
  if (bytes == 0) return;
  sys::consume(socket_.get(), bytes);
  seen_bytes_ -= bytes;
}

// As many frames as the kernel takes whole; how many there are in joined_.
std::size_t WorkerSocket::join() {
  joined_ = outgoing_.front();
  std::size_t count = 1;
  for (; count < outgoing_.size(); ++count) {
    if (joined_.size() + outgoing_[count].size() > sys::kOnePiece) break;
    joined_ += outgoing_[count];
  }
  return count;
}

void WorkerSocket::write() {
  while (!outgoing_.empty()) {
    const std::size_t count = join();
    switch (sys::write_whole(socket_.get(), joined_)) {
      case sys::Written::done:
        outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(count));
        continue;
      case sys::Written::gone:  // whoever reaps it says how
        outgoing_.clear();
        break;
      case sys::Written::later:
        break;
    }
    break;
  }
  const bool waits = !outgoing_.empty();
  if (waits != writable_asked_ && watch_) {
    writable_asked_ = waits;
    watch_.set_events(waits ? kReading | EPOLLOUT : kReading);
  }
}

void WorkerSocket::break_off(const Error& why) {
  broken_ = true;
  watch_ = {};
  handlers_.fault(why);
}

}  // namespace mtd::broker
