#include "daemon/broker/put_refusal.h"

#include "common/escape.h"
#include "daemon/broker/model/vocabulary.h"

namespace mtd::broker {
namespace {

constexpr std::int64_t kRetryMs = 1000;

std::string message_of(task::Refusal why, const std::string& name) {
  switch (why) {
    case task::Refusal::queue_full:
    case task::Refusal::too_many_waiting:
      return "the queue of pool " + name +
             " is full (tasks.max_queue, tasks.max_queue_bytes); try again later, or wait for room "
             "with block_ms";
    case task::Refusal::too_large:
      return "the task is larger than the queue of pool " + name +
             " may be (tasks.max_queue_bytes)";
    case task::Refusal::closed:
      return "pool " + name + " takes no tasks since it was drained; `mtctl pool resume " + name +
             "` lets it";
    case task::Refusal::store_full:
      return "there is no room for tasks on the disk (tasks.quota, or its file system is full)";
    case task::Refusal::store_failed:
      return "the store of tasks is broken; mtd's log says how, and a restart of mtd opens it "
             "again";
    case task::Refusal::no_such_task:
    case task::Refusal::unique_taken:
      break;
  }
  return "the task cannot be put";
}

// Of what goes by itself.
std::optional<std::int64_t> retry_of(task::Refusal why) {
  const bool goes = why == task::Refusal::queue_full || why == task::Refusal::too_many_waiting ||
                    why == task::Refusal::store_full;
  return goes ? std::optional(kRetryMs) : std::nullopt;
}

}  // namespace

PutRefusal refusal_of(task::Refusal why, const std::string& pool) {
  return {task::name_of(why), message_of(why, escape_for_terminal(pool)), retry_of(why)};
}

}  // namespace mtd::broker
