// The task board: memory that supervisor and broker share. The broker writes what each worker does
// and how long the queues are; the supervisor reads it when somebody asks. So a task wakes the
// supervisor for nothing, and what a worker has been given outlives the broker. The keeper holds
// it.
//
// Every field is a number of its own, read and written whole; what belongs together may be a moment
// apart. The supervisor takes nothing here for true but as something to show: it was written by a
// process without privileges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/broker_protocol.h"

namespace mtd::sys {

// At once, all pools: more than twice the task workers there can be, so that a place is found at
// the first or second look.
inline constexpr std::uint32_t kBoardWorkers = 64 * 1024;
inline constexpr std::uint32_t kBoardQueues = 1024;
inline constexpr std::uint32_t kBoardMagic = 0x3242544dU;  // "MTB2"

struct BoardWorker {
  broker::WorkerRef worker;  // incarnation 0: free
  std::uint64_t given = 0;   // tasks, in its life
  std::uint64_t answered = 0;
  std::uint64_t current = 0;  // id of a task that it has, 0: none
  std::uint32_t running = 0;
  std::uint32_t credit = 0;        // 0: it has not said that it is ready
  std::uint32_t capabilities = 0;  // the broker's own bits
  std::uint32_t used = 0;          // a worker has stood here: look further
};
struct BoardQueue {
  std::uint32_t pool = 0;  // its id, 0: free
  std::uint32_t paused = 0, closed = 0, padding = 0;
  std::uint64_t waiting = 0, scheduled = 0, running = 0, busy = 0;
  std::uint64_t done = 0, failed = 0, crashed = 0, dead = 0, refused = 0;
  std::int64_t oldest_ns = 0;  // CLOCK_REALTIME of the next one to run, 0: none
};
struct BoardContent {
  std::uint32_t magic = 0;
  std::uint32_t padding = 0;
  BoardWorker workers[kBoardWorkers];  // by their slot; see place_of() in task_board.cpp
  BoardQueue queues[kBoardQueues];
};

class TaskBoard {
 public:
  TaskBoard() = default;
  TaskBoard(TaskBoard&& other) noexcept;
  TaskBoard& operator=(TaskBoard&& other) noexcept;
  ~TaskBoard();

  // Empty memory.
  [[nodiscard]] static Result<TaskBoard> create();
  // Of an earlier life, or the other's. Errors: not of this size and kind.
  [[nodiscard]] static Result<TaskBoard> open(UniqueFd memory);
  [[nodiscard]] int fd() const { return memory_.get(); }
  [[nodiscard]] explicit operator bool() const { return content_ != nullptr; }

  // For the broker. A place for the worker: its own if it has one, else a free one; null: none.
  [[nodiscard]] BoardWorker* worker(const broker::WorkerRef& worker);
  [[nodiscard]] BoardQueue* queue(std::uint32_t pool);
  // For the supervisor: as it is now.
  [[nodiscard]] std::optional<BoardWorker> look(const broker::WorkerRef& worker) const;
  [[nodiscard]] std::optional<BoardQueue> look(std::uint32_t pool) const;
  // The worker has ended, the pool is gone.
  void clear(const broker::WorkerRef& worker);
  void clear(std::uint32_t pool);
  // Whether queue() finds a place for it.
  [[nodiscard]] bool has_place(std::uint32_t pool) const;
  // Other pools than these are gone, whoever gave them their places.
  void keep_queues(const std::set<std::uint32_t>& pools);

 private:
  TaskBoard(UniqueFd memory, BoardContent* content)
      : memory_(std::move(memory)), content_(content) {}
  struct Places {
    BoardWorker* own = nullptr;   // null: it has none
    BoardWorker* free = nullptr;  // if it has none: where it may stand
  };
  [[nodiscard]] Places find(const broker::WorkerRef& worker) const;
  static void set(BoardWorker& place, const broker::WorkerRef& worker);

  UniqueFd memory_;
  BoardContent* content_ = nullptr;
};

}  // namespace mtd::sys
