// The reference: client, dispatcher and workers over pairs of sockets, one message a task, and
// nothing else: no names, no record, no protocol. What the kernel asks for handing a task on.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <deque>

#include "task_load.h"

namespace bench {
namespace {

using Message = std::array<char, 64>;

std::array<int, 2> make_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) fail("socketpair");
  return ends;
}

// Also when there is none to be had any more.
void take(int fd, Message& message) {
  if (::recv(fd, message.data(), message.size(), 0) <= 0) ::_exit(0);
}

void give(int fd, const Message& message) {
  if (::send(fd, message.data(), message.size(), MSG_NOSIGNAL) <= 0) ::_exit(0);
}

class Dispatcher {
 public:
  Dispatcher(int client, std::vector<int> workers)
      : client_(client), workers_(std::move(workers)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    watch(client, kClient);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      watch(workers_[i], static_cast<std::uint32_t>(i));
      idle_.push_back(i);
    }
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 16> ready{};
    for (;;) {
      const int count = ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), -1);
      for (int i = 0; i < count; ++i)
        attend(ready[static_cast<std::size_t>(i)].data.u32);
      while (!waiting_.empty() && !idle_.empty()) {
        give(workers_[idle_.back()], waiting_.front());
        idle_.pop_back();
        waiting_.pop_front();
      }
    }
  }

 private:
  static constexpr std::uint32_t kClient = 0xffffffff;

  void watch(int fd, std::uint32_t who) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = who;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void attend(std::uint32_t who) {
    Message message{};
    if (who != kClient) {
      take(workers_[who], message);
      idle_.push_back(who);
      give(client_, message);
      return;
    }
    for (int i = 0; i < 64; ++i) {
      const ssize_t size = ::recv(client_, message.data(), message.size(), MSG_DONTWAIT);
      if (size == 0) ::_exit(0);
      if (size < 0) return;
      waiting_.push_back(message);
    }
  }

  int client_;
  std::vector<int> workers_;
  int epoll_;
  std::vector<std::size_t> idle_;
  std::deque<Message> waiting_;
};

class Bare final : public TaskQueue {
 public:
  explicit Bare(const Load& load) {
    const auto client = make_pair();
    std::vector<std::array<int, 2>> pairs;
    for (std::size_t i = 0; i < load.workers; ++i)
      pairs.push_back(make_pair());
    takers_.start(load.workers, [&](std::size_t i) {
      Message message{};
      for (;;) {
        take(pairs[i][1], message);
        work(load.work_us);
        give(pairs[i][1], message);
      }
    });
    takers_.start(1, [&](std::size_t) {
      std::vector<int> workers;
      workers.reserve(pairs.size());
      for (const auto& pair : pairs)
        workers.push_back(pair[0]);
      Dispatcher(client[1], std::move(workers)).run();
    });
    socket_ = client[0];
  }

  void submit(std::size_t count) override {
    const Message message{};
    for (std::size_t i = 0; i < count; ++i)
      give(socket_, message);
  }

  std::size_t ended(std::size_t) override {
    Message message{};
    take(socket_, message);
    std::size_t count = 1;
    while (::recv(socket_, message.data(), message.size(), MSG_DONTWAIT) > 0)
      ++count;
    return count;
  }

 private:
  Takers takers_;
  int socket_ = -1;
};

}  // namespace

std::unique_ptr<TaskQueue> make_bare(const Load& load) {
  return std::make_unique<Bare>(load);
}

}  // namespace bench
