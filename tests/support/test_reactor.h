// A Reactor for tests: epoll and a clock that stands still until advanced (or follows the real
// one). Handles may be destroyed in their own callbacks, as Reactor promises.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "common/unique_fd.h"
#include "daemon/control/reactor.h"

namespace mtd::test {

class TestReactor final : public control::Reactor {
 public:
  enum class Clock { simulated, real };
  explicit TestReactor(Clock clock = Clock::simulated);
  ~TestReactor() override;

  [[nodiscard]] Instant now() const override;
  [[nodiscard]] std::unique_ptr<FdWatch> watch_fd(
      int fd, bool readable, bool writable,
      std::function<void(control::FdReadiness)> callback) override;
  [[nodiscard]] std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;
  [[nodiscard]] std::unique_ptr<Deferred> make_deferred(std::function<void()> callback) override;

  // One look at everything; true: something ran.
  bool turn(int wait_ms = 0);
  // Turns until nothing is ready any more. Fails the test when that takes 100 000 turns (a spin).
  void settle();
  // Turns until `done`; fails the test after 20 real seconds.
  void run_until(const std::function<bool()>& done);
  void advance(Duration by);  // simulated clock only; runs the timers that come due
  void advance_clock(Duration by) { now_ = now_ + by; }  // runs nothing
  [[nodiscard]] std::size_t turns() const { return turns_; }

 private:
  struct WatchState;
  struct TimerState;
  struct DeferredState;
  class WatchHandle;
  class TimerHandle;
  class DeferredHandle;
  bool run_deferred();
  bool run_timers();

  UniqueFd epoll_;
  Clock clock_;
  Instant now_ = Instant::at_ns(1'000'000'000);
  std::uint64_t next_id_ = 1;
  std::size_t turns_ = 0;
  std::map<std::uint64_t, std::shared_ptr<WatchState>> watches_;
  std::set<std::shared_ptr<TimerState>> timers_;
  std::vector<std::shared_ptr<DeferredState>> scheduled_;
};

}  // namespace mtd::test
