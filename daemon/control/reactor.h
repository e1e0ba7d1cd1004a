// Reactor: what the control transport needs of an event loop, and nothing more. A role's
// loop implements it; tests implement it with a clock of their own.
// Every handle may be destroyed inside its own callback; after that the callback is not run again.
#pragma once

#include <functional>
#include <memory>

#include "common/time.h"

namespace mtd::control {

struct FdReadiness {
  bool readable = false;
  bool writable = false;
  bool hung_up = false;  // EPOLLHUP or EPOLLERR: both directions are over; told without being asked
};

class Reactor {
 public:
  // Level-triggered. Destroying it ends the watch; it never closes the descriptor.
  class FdWatch {
   public:
    virtual ~FdWatch() = default;
    virtual void set_interest(bool readable, bool writable) = 0;
  };
  // One-shot: runs once when `at` has come, until armed again. Instant::never() disarms.
  class Timer {
   public:
    virtual ~Timer() = default;
    virtual void arm(Instant at) = 0;
  };
  // Runs once in the loop's next turn after schedule(), other ready sources taking their turn too.
  class Deferred {
   public:
    virtual ~Deferred() = default;
    virtual void schedule() = 0;
  };

  virtual ~Reactor() = default;
  [[nodiscard]] virtual Instant now() const = 0;  // CLOCK_MONOTONIC, read afresh at every call
  [[nodiscard]] virtual std::unique_ptr<FdWatch> watch_fd(
      int fd, bool readable, bool writable, std::function<void(FdReadiness)> callback) = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> make_timer(std::function<void()> callback) = 0;
  [[nodiscard]] virtual std::unique_ptr<Deferred> make_deferred(std::function<void()> callback) = 0;
};

}  // namespace mtd::control
