// The queue of one pool: which tasks there are, who works on which, and what comes next. Pure: no
// system call, clock, random number, log or JSON. The shell turns frames, calls and completions of
// the store into events, performs the actions and arms one timer for next_deadline().
//
// Guarantees: every accepted task is waiting, running or final, and exactly one of them. It becomes
// final once, and the answer that made it so is of its newest attempt. An attempt is counted and on
// record before a worker hears of it; nothing is told to a client before it is on record (that a
// put is on the disk, too, the shell sees to). First in, first out within a priority at dispatch.
// Never more tasks at a worker than its credit, never more in its life than its limit, none once it
// drains.
//
// Cost: an event touches the tasks and workers it names, O(log n) in the number of tasks; bodies
// and results are passed on by reference and held only while an operation on them is under way.
// Final tasks are the store's alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/broker/model/actions.h"
#include "daemon/broker/model/events.h"
#include "daemon/broker/model/values.h"

namespace mtd::task {

// Puts that wait for room in a full queue, at most.
inline constexpr std::size_t kMaxBlockedPuts = 1024;
inline constexpr std::size_t kMaxTasksInPut = 4096;
// The first crash of a task is repeated at once; then 1 s, doubled with each further one.
inline constexpr Duration kCrashDelay = Duration::seconds(1);
// From the close of a worker's socket to its kill.
inline constexpr Duration kCloseGrace = Duration::seconds(5);
// Between two looks at a store that had no room.
inline constexpr Duration kProbeInterval = Duration::seconds(1);

// What the store had at the start.
struct Recovered {
  std::vector<TaskFacts> tasks;  // that are not final, in any order
  WallTime oldest_done = WallTime::never(), oldest_dead = WallTime::never();
};

struct TaskView {
  TaskId id;
  TaskState state = TaskState::waiting;
  Counters counters;
  WorkerKey worker;  // running
  Instant attempt_deadline =
      Instant::never();  // running: when it is cancelled or its worker killed
  Instant due;           // scheduled
  bool cancelling = false;
};
struct WorkerView {
  WorkerKey worker;
  bool ready = false, draining = false, spent = false;
  std::uint32_t credit = 0, running = 0;  // running: also claims under way
  std::uint64_t given = 0, answered = 0, limit = 0;
};
struct QueueView {
  std::uint64_t waiting = 0, scheduled = 0, running = 0;
  std::uint64_t entering = 0;      // puts under way to the store
  std::uint64_t bytes = 0;         // of tasks that are not running
  std::uint64_t blocked_puts = 0;  // wait for room
  std::uint32_t workers = 0;
  bool paused = false, closed = false, store_full = false, store_failed = false;
  WallTime oldest_waiting = WallTime::never();  // when the next one to run was put
  // Since this life began.
  std::uint64_t accepted = 0, done = 0, dead = 0, cancelled = 0, expired = 0;
  std::uint64_t failed_attempts = 0, crashed_attempts = 0, late_answers = 0, refused_puts = 0;
};

class Queue {
 public:
  // Until AllAttached nothing is given out, and what runs stays with its worker.
  Queue(QueueSpec spec, Recovered recovered, Now now);

  // entropy: a fresh random number per call; all jitter is drawn from it.
  [[nodiscard]] std::vector<Action> step(Event event, Now now, std::uint64_t entropy);
  // The same; what is to be done is added to `actions`.
  void step(Event&& event, Now now, std::uint64_t entropy, std::vector<Action>& actions);
  // When it wants to be called with Tick; never() when nothing is waited for.
  [[nodiscard]] Instant next_deadline() const;

  // Whether this worker has this task and attempt to answer.
  [[nodiscard]] bool holds(const WorkerKey& worker, TaskId id, std::uint32_t attempt) const;
  // Whether somebody has this attempt, and it is the newest one.
  [[nodiscard]] bool is_running(TaskId id, std::uint32_t attempt) const;
  [[nodiscard]] std::optional<TaskView> find(TaskId id) const;  // empty: final or unknown
  // Of a group that are not final; without a name: of all. In the order they came; O(n log n).
  [[nodiscard]] std::vector<TaskId> ids(const std::string& group) const;
  [[nodiscard]] std::uint64_t live_in_group(const std::string& group) const;
  [[nodiscard]] QueueView view() const;                                           // O(1)
  [[nodiscard]] std::optional<WorkerView> worker(const WorkerKey& worker) const;  // O(1)
  [[nodiscard]] const QueueSpec& spec() const;

  Queue(Queue&&) noexcept;
  Queue& operator=(Queue&&) noexcept;
  Queue(const Queue& other);  // a value: a copy goes its own way
  Queue& operator=(const Queue& other);
  ~Queue();

  struct State;  // state.h; for the model and its tests only
  [[nodiscard]] const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace mtd::task
