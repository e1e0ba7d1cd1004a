// State: all that a queue is. For the model and its tests only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/deadlines.h"
#include "daemon/broker/model/queue.h"

namespace mtd::task {

// A task's place in the slab below; used again after the task has gone.
using Slot = std::uint32_t;
inline constexpr std::uint32_t kNone = 0xffffffff;

// ---- Where a task is. Each but Scheduled, Waiting and Running has an operation under way.
// --------
struct Entering {};  // its put
struct Scheduled {
  Instant due;
  std::optional<WallTime> appointment;  // due follows the wall clock
};
struct Waiting {};
struct Claiming {
  WorkerKey worker;
};
enum class Stage : std::uint8_t {
  working,
  timed_out,  // asked to stop; its worker is killed at the deadline
  cancelled,  // the same, because of a cancel
  killed,     // its worker is being killed for it
};
struct Running {
  WorkerKey worker;
  WallTime started;
  Instant deadline = Instant::never();  // of the stage
  Stage stage = Stage::working;
  bool timed_out = false;       // killed: because of its time-out
  bool unconfirmed = false;     // the worker may not have heard of it: a former broker's
  bool cancel_pending = false;  // the cancel is not on record yet
  bool cancel_now = false;      // … and is to kill
};
struct Ending {
  bool answered = false;  // a worker's frame waits for it
};
struct Requeueing {
  bool answered = false;
  Instant due;  // as the operation says, by the steady clock
};
using Place = std::variant<Entering, Scheduled, Waiting, Claiming, Running, Ending, Requeueing>;

struct Task {
  TaskId id;  // 0: the slot is free
  std::int32_t priority = 0;
  std::uint64_t order = 0;
  Counters counters;
  std::uint32_t max_attempts = 0;
  std::optional<Duration> timeout;
  WallTime expires = WallTime::never();
  WallTime created;
  std::uint64_t bytes = 0;
  Durability durability = Durability::fsync;
  std::optional<Reason> cancel;  // to be cancelled as soon as nothing is under way
  std::uint32_t group = kNone;   // index
  std::uint32_t member = 0;      // its index in the group
  Place place = Waiting{};
};

template <class T>
[[nodiscard]] inline bool is_in(const Task& task) {
  return std::holds_alternative<T>(task.place);
}
// Counts against the limits of the queue: everything that is neither with a worker nor ending.
[[nodiscard]] inline bool is_queued(const Place& place) {
  return std::holds_alternative<Entering>(place) || std::holds_alternative<Scheduled>(place) ||
         std::holds_alternative<Waiting>(place);
}

struct Worker {
  bool ready = false;
  bool draining = false;              // asked to end
  bool spent = false;                 // is to be replaced
  bool killed = false;                // being killed
  bool misbehaved = false;            // … for what it sent
  Instant closed = Instant::never();  // its socket is closed; when it is killed for it
  std::uint64_t turn = 0;             // its place in `free_workers`; 0: not there
  bool drained_said = false;
  std::uint32_t credit = 0;
  std::uint32_t claims = 0;  // of its tasks, those it has not heard of
  std::uint64_t limit = 0;   // 0: none
  std::uint64_t given = 0, answered = 0;
  std::vector<Slot> tasks;

  // May be given one more.
  [[nodiscard]] bool has_room() const {
    return ready && !draining && !spent && !killed && closed.is_never() && tasks.size() < credit &&
           (limit == 0 || given + claims < limit);
  }
};

struct Group {
  std::string name;
  std::vector<Slot> members;
};

struct BlockedPut {
  Put put;
  std::uint64_t bytes = 0;
  Instant deadline = Instant::never();
};

// What a ticket of a cancel still waits for.
struct CancelCount {
  CancelAnswered answer;
  std::uint32_t remaining = 0;
};

// One of the two stores: what is on disk, and what is in memory (Durability::memory).
struct StoreSide {
  bool full = false;    // no room for new tasks; those that are there make some when they end
  bool stands = false;  // … nor for what goes on with them, at the last try: no task is begun
  bool probing = false;
  Instant probe_at = Instant::never();
  std::vector<StoreOp> stalled;  // operations that found no room, in order; they are tried again
  bool collecting = false;
  WallTime oldest_done = WallTime::never(), oldest_dead = WallTime::never();
  Instant last_collect;
  Instant collect_at = Instant::never();
};

// Waiting tasks in the order in which they run.
struct ReadyKey {
  std::int32_t priority = 0;
  std::uint64_t order = 0;
  Slot slot = 0;
  friend constexpr auto operator<=>(const ReadyKey&, const ReadyKey&) = default;
};

struct Queue::State {
  QueueSpec spec;
  bool adopting = true;  // until AllAttached
  bool paused = false, closed = false, failed = false;
  std::int64_t clock_offset_ns = 0;  // wall − instant

  std::vector<Task> tasks;
  std::vector<Slot> free_slots;
  std::unordered_map<std::uint64_t, Slot> by_id;
  std::set<ReadyKey> ready;
  DeadlineIndex deadlines;  // of tasks
  std::uint64_t next_order = 1;

  std::vector<Group> groups;
  std::vector<std::uint32_t> free_groups;
  std::unordered_map<std::string, std::uint32_t> group_by_name;

  std::map<WorkerKey, Worker> workers;
  std::set<std::pair<std::uint64_t, WorkerKey>> free_workers;  // with room; longest idle first
  std::uint64_t next_turn = 1;
  std::set<std::pair<Instant, WorkerKey>> closing;  // whose socket is closed
  std::map<WorkerKey, std::vector<Slot>> orphans;   // running at workers not attached yet

  std::map<std::uint64_t, BlockedPut> blocked;  // by arrival
  std::uint64_t next_blocked = 1;
  std::set<std::pair<Instant, std::uint64_t>> blocked_deadlines;
  std::map<std::uint64_t, CancelCount> cancels;         // by ticket
  std::multimap<std::uint64_t, Ticket> cancel_waiters;  // by task: told when it is on record

  std::array<StoreSide, 2> sides;
  QueueView counts;          // kept up to date, but for what view() adds
  std::uint64_t queued = 0;  // tasks that count against max_queue; counts.bytes are theirs

  [[nodiscard]] WallTime wall_at(Instant at) const {
    return at.is_never() ? WallTime::never() : WallTime{at.count_ns() + clock_offset_ns};
  }
  [[nodiscard]] Instant instant_at(WallTime at) const {
    return at.is_never() ? Instant::never() : Instant::at_ns(at.ns - clock_offset_ns);
  }
  [[nodiscard]] StoreSide& side_of(Durability durability) {
    return sides[durability == Durability::memory ? 1 : 0];
  }
  [[nodiscard]] bool is_room(std::uint64_t count, std::uint64_t bytes) const {
    return queued + count <= spec.max_queue && counts.bytes + bytes <= spec.max_queue_bytes;
  }
};

}  // namespace mtd::task
