#include "daemon/sys/event_loop.h"

#include <systemd/sd-event.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <utility>
#include <vector>

namespace mtd::sys {
namespace {

// What the kernel refuses for want of memory or descriptors is made later, as soon as it lets it:
// tried again after each turn, and at least so often, while something is missing.
constexpr Duration kRetryPause = Duration::milliseconds(100);

bool is_shortage(int error) {
  return error == -ENOMEM || error == -ENOSPC || error == -EMFILE || error == -ENFILE;
}

}  // namespace

// What one registration runs. Shared by its handle and, while it runs, by the dispatcher, so that a
// handler may destroy its own handle.
struct EventLoop::Callback : std::enable_shared_from_this<EventLoop::Callback> {
  IoHandler io;
  Handler plain;
  int fd = -1;  // of a watch; a timer has none
  std::uint32_t events = 0;
  Priority priority = Priority::normal;
  Instant deadline = Instant::never();
  State* loop = nullptr;              // null: its handle is gone
  sd_event_source* source = nullptr;  // null: the kernel has refused it so far

  Callback(State& state, Priority urgency) : priority(urgency), loop(&state) {}
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
  ~Callback() { detach(); }

  void detach() {
    loop = nullptr;
    drop_source();
  }
  void drop_source() {
    if (source != nullptr) sd_event_source_disable_unref(std::exchange(source, nullptr));
  }
  // Makes the registration what the members say; a negative errno: it could not.
  int apply();

  static int on_io(sd_event_source*, int, std::uint32_t events, void* self) {
    const auto held = static_cast<Callback*>(self)->shared_from_this();
    held->io(events);
    return 0;
  }
  static int on_time(sd_event_source*, std::uint64_t, void* self) {
    const auto held = static_cast<Callback*>(self)->shared_from_this();
    held->deadline = Instant::never();
    held->plain();
    return 0;
  }
};

struct EventLoop::State {
  struct Queue {
    std::deque<Handler> handlers;
    sd_event_source* source = nullptr;  // enabled while there are handlers

    static int on_defer(sd_event_source* source, void* self) {
      auto& queue = *static_cast<Queue*>(self);
      Handler handler = std::move(queue.handlers.front());
      queue.handlers.pop_front();
      if (queue.handlers.empty()) sd_event_source_set_enabled(source, SD_EVENT_OFF);
      handler();
      return 0;
    }
  };
  sd_event* event = nullptr;
  std::vector<std::weak_ptr<Callback>> refused;  // for want of something; tried again
  std::map<Priority, Queue> posted;
  Handler after;
  bool stopped = false;
  int code = 0;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    for (auto& entry : posted)
      sd_event_source_disable_unref(entry.second.source);
    sd_event_unref(event);
  }

  // Applies it, now or as soon as the kernel lets it; a negative errno: never.
  int settle(const std::shared_ptr<Callback>& callback) {
    const int error = callback->apply();
    if (error >= 0 || !is_shortage(error)) return error;
    refused.push_back(callback);
    return 0;
  }
  void try_again() {
    for (const auto& one : std::exchange(refused, {})) {
      const auto callback = one.lock();
      if (callback && callback->loop != nullptr) settle(callback);
    }
  }
};

int EventLoop::Callback::apply() {
  int error = 0;
  if (source == nullptr) {
    error = fd >= 0 ? sd_event_add_io(loop->event, &source, fd, events, on_io, this)
                    // The default accuracy is 250 ms.
                    : sd_event_add_time(loop->event, &source, CLOCK_MONOTONIC, UINT64_MAX, 1,
                                        on_time, this);
    if (error >= 0)
      error = sd_event_source_set_priority(source, static_cast<std::int64_t>(priority));
    if (error < 0) {
      drop_source();
      return error;
    }
  } else if (fd >= 0) {
    return sd_event_source_set_io_events(source, events);
  }
  if (fd >= 0) return error;
  if (deadline.is_never()) return sd_event_source_set_enabled(source, SD_EVENT_OFF);
  const std::int64_t ns = deadline.count_ns();
  error =
      sd_event_source_set_time(source, ns <= 0 ? 0 : static_cast<std::uint64_t>(ns + 999) / 1000);
  return error < 0 ? error : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

EventLoop::EventLoop(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventLoop::EventLoop(EventLoop&&) noexcept = default;
EventLoop& EventLoop::operator=(EventLoop&&) noexcept = default;
EventLoop::~EventLoop() = default;

Result<EventLoop> EventLoop::create() {
  auto state = std::make_unique<State>();
  const int error = sd_event_new(&state->event);
  if (error < 0) return Error::from_errno("create an event loop", -error);
  return EventLoop(std::move(state));
}

Result<EventLoop::Watch> EventLoop::watch(int fd, std::uint32_t events, Priority priority,
                                          IoHandler handler) {
  auto callback = std::make_shared<Callback>(*state_, priority);
  callback->io = std::move(handler);
  callback->fd = fd;
  callback->events = events;
  const int error = state_->settle(callback);
  if (error < 0) return Error::from_errno("watch a descriptor", -error);
  Watch watch;
  watch.callback_ = std::move(callback);
  return watch;
}

Result<EventLoop::Timer> EventLoop::timer(Priority priority, Handler handler) {
  auto callback = std::make_shared<Callback>(*state_, priority);
  callback->plain = std::move(handler);
  const int error = state_->settle(callback);
  if (error < 0) return Error::from_errno("create a timer", -error);
  Timer timer;
  timer.callback_ = std::move(callback);
  return timer;
}

void EventLoop::post(Priority priority, Handler handler) {
  auto& queue = state_->posted[priority];
  if (queue.source == nullptr) {
    sd_event_add_defer(state_->event, &queue.source, State::Queue::on_defer, &queue);
    sd_event_source_set_priority(queue.source, static_cast<std::int64_t>(priority));
  }
  queue.handlers.push_back(std::move(handler));
  sd_event_source_set_enabled(queue.source, SD_EVENT_ON);
}

void EventLoop::after_turn(Handler handler) {
  state_->after = std::move(handler);
}

Result<int> EventLoop::run() {
  while (!state_->stopped) {
    const auto went = turn(Duration::infinite());
    if (!went) return went.error();
  }
  return state_->code;
}

void EventLoop::stop(int code) {
  state_->stopped = true;
  state_->code = code;
}

Result<bool> EventLoop::turn(Duration timeout) {
  if (!state_->refused.empty()) timeout = std::min(timeout, kRetryPause);
  const std::uint64_t wait =
      timeout.is_infinite() ? UINT64_MAX : static_cast<std::uint64_t>(timeout.count_ns()) / 1000;
  const int error = sd_event_run(state_->event, wait);
  if (error < 0 && error != -EINTR) return Error::from_errno("wait for events", -error);
  if (!state_->refused.empty()) state_->try_again();
  if (state_->after) state_->after();
  return error > 0;
}

EventLoop::Watch::Watch() = default;
EventLoop::Watch::Watch(Watch&&) noexcept = default;
EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
  if (this == &other) return *this;
  if (callback_) callback_->detach();
  callback_ = std::move(other.callback_);
  return *this;
}
EventLoop::Watch::~Watch() {
  if (callback_) callback_->detach();
}

void EventLoop::Watch::set_events(std::uint32_t events) {
  if (!callback_ || callback_->loop == nullptr) return;
  callback_->events = events;
  (void)callback_->loop->settle(callback_);
}

EventLoop::Timer::Timer() = default;
EventLoop::Timer::Timer(Timer&&) noexcept = default;
EventLoop::Timer& EventLoop::Timer::operator=(Timer&& other) noexcept {
  if (this == &other) return *this;
  if (callback_) callback_->detach();
  callback_ = std::move(other.callback_);
  return *this;
}
EventLoop::Timer::~Timer() {
  if (callback_) callback_->detach();
}

void EventLoop::Timer::arm(Instant at) {
  if (!callback_ || callback_->loop == nullptr || callback_->deadline == at) return;
  callback_->deadline = at;
  (void)callback_->loop->settle(callback_);
}

void EventLoop::Timer::disarm() {
  arm(Instant::never());
}

Instant EventLoop::Timer::deadline() const {
  return callback_ ? callback_->deadline : Instant::never();
}

}  // namespace mtd::sys
