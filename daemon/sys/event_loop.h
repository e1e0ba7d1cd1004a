// EventLoop: one thread waits here for descriptors and timers, over sd_event(3). Handlers never
// block and never throw. Of what is ready at once the more urgent Priority goes first, so that
// facts about processes are known before anyone asks for them. Nothing wakes up without a reason:
// no periodic work; only what is refused for want of memory or descriptors is asked for again.
//
// Handles (Watch, Timer) own their registration: destroying one inside its own handler is allowed.
// The loop must outlive its handles.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "common/result.h"
#include "common/time.h"

struct sd_event;
struct sd_event_source;

namespace mtd::sys {

enum class Priority : std::int64_t {
  keeper = -100,
  notify = -50,
  normal = 0,
  client = 50,
  idle = 100
};

class EventLoop {
  struct Callback;

 public:
  // A descriptor that is watched; the descriptor itself belongs to someone else, who closes it
  // after.
  class Watch {
   public:
    Watch();
    Watch(Watch&&) noexcept;
    Watch& operator=(Watch&&) noexcept;
    ~Watch();
    // EPOLLIN, EPOLLOUT, EPOLLPRI…; 0: only errors and hang-ups are reported.
    void set_events(std::uint32_t events);
    [[nodiscard]] explicit operator bool() const { return callback_ != nullptr; }

   private:
    friend class EventLoop;
    std::shared_ptr<Callback> callback_;
  };

  // One deadline, CLOCK_MONOTONIC, accuracy 1 µs. Fires once, then is disarmed.
  class Timer {
   public:
    Timer();
    Timer(Timer&&) noexcept;
    Timer& operator=(Timer&&) noexcept;
    ~Timer();
    void arm(Instant at);  // never(): disarms; a time in the past fires at once
    void disarm();
    [[nodiscard]] Instant deadline() const;  // never() when disarmed

   private:
    friend class EventLoop;
    std::shared_ptr<Callback> callback_;
  };

  using IoHandler = std::function<void(std::uint32_t events)>;
  using Handler = std::function<void()>;

  [[nodiscard]] static Result<EventLoop> create();
  EventLoop(EventLoop&&) noexcept;
  EventLoop& operator=(EventLoop&&) noexcept;
  ~EventLoop();

  // Level-triggered.
  [[nodiscard]] Result<Watch> watch(int fd, std::uint32_t events, Priority priority,
                                    IoHandler handler);
  [[nodiscard]] Result<Timer> timer(Priority priority, Handler handler);
  // A function the loop calls once, soon; handlers that are ready and more urgent go first.
  void post(Priority priority, Handler handler);
  // Called after every handler, before the loop looks for the next one. It may post, and is to be
  // cheap.
  void after_turn(Handler handler);

  // Runs until stop(); returns its code.
  [[nodiscard]] Result<int> run();
  void stop(int code);
  // One turn, one handler: waits at most `timeout` for something to be ready. True when something
  // was.
  [[nodiscard]] Result<bool> turn(Duration timeout);

 private:
  struct State;
  explicit EventLoop(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mtd::sys
