// LoopReactor: an event loop of daemon/sys in the form the control transport wants. Clients come
// last: facts about processes go first.
#pragma once

#include "daemon/control/reactor.h"
#include "daemon/sys/event_loop.h"

namespace mtd::control {

class LoopReactor final : public Reactor {
 public:
  explicit LoopReactor(sys::EventLoop& loop) : loop_(loop) {}

  [[nodiscard]] Instant now() const override;
  [[nodiscard]] std::unique_ptr<FdWatch> watch_fd(
      int fd, bool readable, bool writable, std::function<void(FdReadiness)> callback) override;
  [[nodiscard]] std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;
  [[nodiscard]] std::unique_ptr<Deferred> make_deferred(std::function<void()> callback) override;

 private:
  sys::EventLoop& loop_;
};

}  // namespace mtd::control
