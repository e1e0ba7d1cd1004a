#include "daemon/control/loop_reactor.h"

#include <utility>

#include "daemon/sys/clock.h"

namespace mtd::control {
namespace {

std::uint32_t interest(bool readable, bool writable) {
  return (readable ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
         (writable ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
}

class LoopWatch final : public Reactor::FdWatch {
 public:
  explicit LoopWatch(sys::EventLoop::Watch watch) : watch_(std::move(watch)) {}
  void set_interest(bool readable, bool writable) override {
    watch_.set_events(interest(readable, writable));
  }

 private:
  sys::EventLoop::Watch watch_;
};

class LoopTimer final : public Reactor::Timer {
 public:
  explicit LoopTimer(sys::EventLoop::Timer timer) : timer_(std::move(timer)) {}
  void arm(Instant at) override { timer_.arm(at); }

 private:
  sys::EventLoop::Timer timer_;
};

class LoopDeferred final : public Reactor::Deferred {
 public:
  LoopDeferred(sys::EventLoop& loop, std::function<void()> callback)
      : loop_(loop), callback_(std::make_shared<std::function<void()>>(std::move(callback))) {}

  void schedule() override {
    if (*scheduled_) return;
    *scheduled_ = true;
    // The handle may be destroyed before its turn, or inside it.
    loop_.post(sys::Priority::client, [weak = std::weak_ptr(callback_), scheduled = scheduled_] {
      *scheduled = false;
      if (const auto callback = weak.lock()) (*callback)();
    });
  }

 private:
  sys::EventLoop& loop_;
  std::shared_ptr<std::function<void()>> callback_;
  std::shared_ptr<bool> scheduled_ = std::make_shared<bool>(false);
};

}  // namespace

Instant LoopReactor::now() const {
  return sys::now();
}

std::unique_ptr<Reactor::FdWatch> LoopReactor::watch_fd(int fd, bool readable, bool writable,
                                                        std::function<void(FdReadiness)> callback) {
  auto watch = loop_.watch(fd, interest(readable, writable), sys::Priority::client,
                           [callback = std::move(callback)](std::uint32_t events) {
                             callback({(events & EPOLLIN) != 0, (events & EPOLLOUT) != 0,
                                       (events & (EPOLLHUP | EPOLLERR)) != 0});
                           });
  // Without a watch the connection is silent; its own deadlines end it.
  return std::make_unique<LoopWatch>(watch ? std::move(*watch) : sys::EventLoop::Watch());
}

std::unique_ptr<Reactor::Timer> LoopReactor::make_timer(std::function<void()> callback) {
  auto timer = loop_.timer(sys::Priority::client, std::move(callback));
  return std::make_unique<LoopTimer>(timer ? std::move(*timer) : sys::EventLoop::Timer());
}

std::unique_ptr<Reactor::Deferred> LoopReactor::make_deferred(std::function<void()> callback) {
  return std::make_unique<LoopDeferred>(loop_, std::move(callback));
}

}  // namespace mtd::control
