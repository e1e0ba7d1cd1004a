// TaskStore: where tasks are kept. One interface, one conformance suite, several stores. A store is
// synchronous and serves one caller at a time, but for sync(); StoreThread (store_thread.h) runs it
// beside an event loop.
//
// Guarantees of commit(): the operations of a batch apply in their order, each whole or not at all;
// a status of `committed` is true after kill -9, and after a loss of power as well where the batch
// has an operation with Durability::fsync that is not a promotion, a requeue, or a claim that
// another attempt may follow. `full`: nothing of that operation was changed; claims go on as long
// as possible when puts are refused already, and what ends tasks when claims are, too. `failed`:
// the store is broken for the rest of this process's life and never says otherwise again; what the
// batch has changed is unknown.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/result.h"
#include "daemon/broker/model/queue.h"
#include "daemon/broker/model/store_ops.h"

namespace mtd::task {

// All that is kept of a task.
struct TaskRow {
  std::string pool;
  TaskFacts facts;
  std::string uid, name;
  Reason reason = Reason::none;  // of its end, or of its last attempt
  Death death;
  WallTime finished;  // final ones
};

// ---- Questions ----------------------------------------------------------------------------------
// Empty members do not restrict.
struct TaskFilter {
  std::string pool, group;
  std::vector<TaskState> states;
  TaskId after;                // ids larger than this, ascending
  std::uint32_t limit = 1000;  // at most 10 000 are given
};
struct FindTask {  // by id or uid
  TaskId id;
  std::string uid;
  bool with_body = false, with_answer = false, with_history = false;
};
struct ListTasks {
  TaskFilter filter;
  bool with_answer = false;
};
struct CountTasks {
  std::string pool, group;  // empty: of all
};
// Removes final tasks that the filter lets through, `limit` of them; others stay, whatever it says.
struct RemoveTasks {
  TaskFilter filter;
};
struct DescribeStore {};
using StoreQuestion = std::variant<FindTask, ListTasks, CountTasks, RemoveTasks, DescribeStore>;

struct FoundTask {
  TaskRow row;
  BodyRef body;                        // if asked for
  AnswerRef answer;                    // if asked for and there is one
  std::vector<AttemptRecord> history;  // if asked for: oldest first, at most kHistoryDepth
};
struct TaskCounts {
  std::uint64_t by_state[7] = {};  // indexed by TaskState
};
enum class StoreHealth : std::uint8_t { good, full, failed };
struct StoreDescription {
  StoreHealth health = StoreHealth::good;
  std::string path;         // empty: in memory
  std::uint64_t bytes = 0;  // in use
  std::string message;      // what is wrong; empty: nothing
};
struct StoreReply {
  std::vector<FoundTask> tasks;  // FindTask: none or one
  TaskCounts counts;
  std::uint64_t removed = 0;
  std::vector<std::string> files;  // Answer::file of what was removed
  StoreDescription description;
  std::string error;  // the question could not be answered; empty: it was
};

// Attempts of a task that are remembered besides the one that ended it.
inline constexpr std::uint32_t kHistoryDepth = 10;

struct StoreContents {
  TaskId last_id;  // no task had a larger one, not even one that has been removed
  std::map<std::string, Recovered> pools;
};

// What is told instead when the sync has failed.
[[nodiscard]] StoreDone failed_completion(StoreDone done);

class TaskStore {
 public:
  virtual ~TaskStore() = default;

  // Everything that is not final, once after opening.
  [[nodiscard]] virtual Result<StoreContents> load() = 0;
  // In the order of the batch, one completion for each operation.
  [[nodiscard]] std::vector<StoreDone> commit(std::vector<StoreOp> batch);
  // commit() in two halves. What write() says is true after kill -9; of an operation with
  // needs_sync() it may be told only after a sync() that began later, which covers all that was
  // written before it. sync() may run beside write() and answer(). False: the store is broken.
  [[nodiscard]] virtual std::vector<StoreDone> write(std::vector<StoreOp> batch) = 0;
  [[nodiscard]] virtual bool sync() { return true; }
  // Whether the next write() goes no further than the kernel's memory. Not beside another write().
  [[nodiscard]] virtual bool writes_at_once() const { return true; }
  // Sees everything that was committed before.
  [[nodiscard]] virtual StoreReply answer(const StoreQuestion& question) = 0;
  [[nodiscard]] virtual StoreHealth health() const = 0;
  // Work that nobody waits for, after the completions of a commit have been told.
  virtual void tidy() {}
};

}  // namespace mtd::task
