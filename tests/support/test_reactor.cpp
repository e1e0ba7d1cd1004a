#include "tests/support/test_reactor.h"

#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <time.h>

#include <array>
#include <utility>

namespace mtd::test {
namespace {

Instant real_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::at_ns(static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec);
}

std::uint32_t events_of(bool readable, bool writable) {
  return (readable ? std::uint32_t{EPOLLIN} : 0) | (writable ? std::uint32_t{EPOLLOUT} : 0);
}

}  // namespace

struct TestReactor::WatchState {
  std::function<void(control::FdReadiness)> callback;
  bool alive = true;
};

struct TestReactor::TimerState {
  std::function<void()> callback;
  Instant at = Instant::never();
};

struct TestReactor::DeferredState {
  std::function<void()> callback;
  bool scheduled = false;
  bool alive = true;
};

class TestReactor::WatchHandle final : public FdWatch {
 public:
  WatchHandle(TestReactor& reactor, int fd, std::uint64_t id)
      : reactor_(reactor), fd_(fd), id_(id) {}
  ~WatchHandle() override {
    ::epoll_ctl(reactor_.epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr);
    reactor_.watches_[id_]->alive = false;
    reactor_.watches_.erase(id_);
  }
  void set_interest(bool readable, bool writable) override {
    epoll_event event{};
    event.events = events_of(readable, writable);
    event.data.u64 = id_;
    REQUIRE(::epoll_ctl(reactor_.epoll_.get(), EPOLL_CTL_MOD, fd_, &event) == 0);
  }

 private:
  TestReactor& reactor_;
  int fd_;
  std::uint64_t id_;
};

class TestReactor::TimerHandle final : public Timer {
 public:
  TimerHandle(TestReactor& reactor, std::shared_ptr<TimerState> state)
      : reactor_(reactor), state_(std::move(state)) {}
  ~TimerHandle() override {
    state_->at = Instant::never();
    reactor_.timers_.erase(state_);
  }
  void arm(Instant at) override { state_->at = at; }

 private:
  TestReactor& reactor_;
  std::shared_ptr<TimerState> state_;
};

class TestReactor::DeferredHandle final : public Deferred {
 public:
  DeferredHandle(TestReactor& reactor, std::shared_ptr<DeferredState> state)
      : reactor_(reactor), state_(std::move(state)) {}
  ~DeferredHandle() override { state_->alive = false; }
  void schedule() override {
    if (std::exchange(state_->scheduled, true)) return;
    reactor_.scheduled_.push_back(state_);
  }

 private:
  TestReactor& reactor_;
  std::shared_ptr<DeferredState> state_;
};

TestReactor::TestReactor(Clock clock) : epoll_(::epoll_create1(EPOLL_CLOEXEC)), clock_(clock) {
  REQUIRE(epoll_.valid());
}
TestReactor::~TestReactor() = default;

Instant TestReactor::now() const {
  return clock_ == Clock::real ? real_now() : now_;
}

std::unique_ptr<TestReactor::FdWatch> TestReactor::watch_fd(
    int fd, bool readable, bool writable, std::function<void(control::FdReadiness)> callback) {
  const std::uint64_t id = next_id_++;
  auto state = std::make_shared<WatchState>();
  state->callback = std::move(callback);
  watches_[id] = std::move(state);
  epoll_event event{};
  event.events = events_of(readable, writable);
  event.data.u64 = id;
  REQUIRE(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  return std::make_unique<WatchHandle>(*this, fd, id);
}

std::unique_ptr<TestReactor::Timer> TestReactor::make_timer(std::function<void()> callback) {
  auto state = std::make_shared<TimerState>();
  state->callback = std::move(callback);
  timers_.insert(state);
  return std::make_unique<TimerHandle>(*this, std::move(state));
}

std::unique_ptr<TestReactor::Deferred> TestReactor::make_deferred(std::function<void()> callback) {
  auto state = std::make_shared<DeferredState>();
  state->callback = std::move(callback);
  return std::make_unique<DeferredHandle>(*this, std::move(state));
}

bool TestReactor::run_deferred() {
  const auto due = std::exchange(scheduled_, {});
  for (const auto& state : due) {
    state->scheduled = false;
    if (state->alive) state->callback();
  }
  return !due.empty();
}

bool TestReactor::run_timers() {
  bool ran = false;
  const auto timers = timers_;
  for (const auto& timer : timers) {
    if (timer->at.is_never() || timer->at > now()) continue;
    timer->at = Instant::never();
    timer->callback();
    ran = true;
  }
  return ran;
}

bool TestReactor::turn(int wait_ms) {
  ++turns_;
  bool ran = run_timers();
  ran = run_deferred() || ran;
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 ran || !scheduled_.empty() ? 0 : wait_ms);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const std::uint64_t id = event.data.u64;  // a copy: epoll_event is packed
    const auto found = watches_.find(id);
    if (found == watches_.end()) continue;
    const auto state = found->second;
    if (!state->alive) continue;
    state->callback({(event.events & EPOLLIN) != 0, (event.events & EPOLLOUT) != 0,
                     (event.events & (EPOLLHUP | EPOLLERR)) != 0});
    ran = true;
  }
  return ran;
}

void TestReactor::settle() {
  for (int turns = 0; turn() || !scheduled_.empty(); ++turns)
    REQUIRE(turns < 100'000);
}

void TestReactor::run_until(const std::function<bool()>& done) {
  const Instant start = real_now();
  while (!done()) {
    REQUIRE(real_now().since(start) < Duration::seconds(20));
    turn(10);
  }
}

void TestReactor::advance(Duration by) {
  now_ = now_ + by;
  settle();
}

}  // namespace mtd::test
