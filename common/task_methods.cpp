#include "common/task_methods.h"

namespace mtd::control {
namespace {

constexpr std::array kQueue{
    Member{"pool", "string", "its name"},
    Member{"mode", "string", "task, exec or filter"},
    Member{"paused", "bool", "no task is given out"},
    Member{"closed", "bool", "no task is taken in"},
    Member{"scheduled", "int", "tasks whose time has not come, or that pause before a retry"},
    Member{"waiting", "int", "tasks that wait for a worker"},
    Member{"running", "int", "tasks that a worker has"},
    Member{"done", "int", "tasks done since the broker began"},
    Member{"failed", "int", "attempts that failed or took too long, since then"},
    Member{"crashed_attempts", "int", "attempts in which the worker died, since then"},
    Member{"dead", "int", "tasks given up, since then"},
    Member{"cancelled", "int", "tasks cancelled, since then"},
    Member{"expired", "int", "tasks that were not begun in time, since then"},
    Member{"stale_answers", "int", "answers that came too late and were refused, since then"},
    Member{"rejected", "int", "puts that were refused, since then"},
    Member{"oldest_ms", "?int", "how long the next task to run has been there"},
    Member{"bytes", "int", "of all that waits"},
    Member{"max", "int", "most tasks that may wait"},
    Member{"max_bytes", "int", "most bytes that may wait"},
    Member{"workers", "int", "workers that take tasks"},
    Member{"busy", "int", "workers that have one"},
};

constexpr std::array kStore{
    Member{"state", "string", "good, full or failed"},
    Member{"path", "string", "its file"},
    Member{"bytes", "int", "in use"},
    Member{"message", "?string", "what is wrong"},
};

constexpr std::array kTaskError{
    Member{"type", "?string", "as the worker names it"},
    Member{"message", "?string", "for people"},
    Member{"trace", "?string", "where it happened"},
};

constexpr std::array kProgress{
    Member{"done", "?int", "of total"},
    Member{"total", "?int", "of what there is to do"},
    Member{"text", "?string", "for people"},
};

constexpr std::array kAttempt{
    Member{"attempt", "int", "from 1"},
    Member{"worker", "string", "POOL/ID"},
    Member{"started_ms", "int", "when, milliseconds since 1970"},
    Member{"ended_ms", "?int", "likewise"},
    Member{"outcome", "string", "what became of it"},
    Member{"detail", "?string", "how its worker died"},
};

constexpr std::array kTask{
    Member{"id", "int", "its number"},
    Member{"uid", "?string", "its client's own name for it"},
    Member{"pool", "string", "whose workers do it"},
    Member{"name", "?string", "what is to be done"},
    Member{"group", "?string", "its group"},
    Member{"state", "string", "scheduled, waiting, running, done, dead, cancelled or expired"},
    Member{"attempt", "int", "attempts so far"},
    Member{"failures", "int", "attempts that failed or took too long"},
    Member{"crashes", "int", "attempts in which the worker died"},
    Member{"recoveries", "int", "attempts that ended with mtd, or by its will"},
    Member{"priority", "int", "lower runs first"},
    Member{"created_ms", "int", "when, milliseconds since 1970"},
    Member{"due_ms", "?int", "not before, likewise"},
    Member{"started_ms", "?int", "of the attempt that runs, likewise"},
    Member{"finished_ms", "?int", "likewise"},
    Member{"worker", "?string", "POOL/ID that has it"},
    Member{"reason", "?string", "why it ended as it did, or why its last attempt did"},
    Member{"error", "?TaskError", "what its worker said last"},
    Member{"progress", "?Progress", "what its worker said of it last"},
    Member{"history", "?[]Attempt", "attempts that are over; Show only"},
};

constexpr std::array kTypes{
    ObjectType{"Queue", "The queue of a pool", kQueue},
    ObjectType{"Store", "Where tasks are kept", kStore},
    ObjectType{"TaskError", "What went wrong", kTaskError},
    ObjectType{"Progress", "How far a task is", kProgress},
    ObjectType{"Attempt", "One attempt that is over", kAttempt},
    ObjectType{"Task", "A task. Members that do not apply are left out", kTask},
};

constexpr std::array kErrors{
    ErrorType{"NoSuchPool", "(pool: string)", "There is no such pool"},
    ErrorType{"NoQueue", "(pool: string)", "The pool has no tasks object, so no queue"},
    ErrorType{"NoSuchTask", "(message: string)", "There is no such task, or no more"},
    ErrorType{"Failed", "(message: string)", "It could not be done"},
    ErrorType{"PermissionDenied", "(message: string)", "The caller's access tier is too low"},
    ErrorType{"StoreFailed", "(message: string)", "The store is broken; nothing is taken in"},
    ErrorType{"NotServing", "(message: string)",
              "mtd runs, but has nobody who could keep tasks now; the message says why"},
    ErrorType{"Busy", "(message: string)", "Not now; trying again later may do"},
};

}  // namespace

const Interface& task_interface() {
  static const Interface kTasks{
      kTaskInterface,
      "Tasks of pools that have a queue. Members named _ms are milliseconds. Replies may gain "
      "members; unknown members of a call are refused.",
      kTaskMethods, kTypes, kErrors};
  return kTasks;
}

}  // namespace mtd::control
