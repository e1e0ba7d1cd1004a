// What the queue does, and whether it may.
#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;

bool TaskRig::is_under_way(TaskId id) const {
  const auto names = [id](const StoreOp& op) {
    if (const auto* claim = std::get_if<ClaimOp>(&op.what)) return claim->id == id;
    if (const auto* finish = std::get_if<FinishOp>(&op.what)) return finish->id == id;
    if (const auto* back = std::get_if<RequeueOp>(&op.what)) return back->id == id;
    return false;
  };
  return std::any_of(under_way_.begin(), under_way_.end(), names);
}

void TaskRig::on(const Submit& action) {
  const StoreOp& op = action.op;
  if (const auto* claim = std::get_if<ClaimOp>(&op.what)) {
    if (is_under_way(claim->id)) fail("claimed while something else is under way", claim->id);
    const Queue::State& state = queue_.state();
    orders_[claim->id.value] = state.tasks[state.by_id.at(claim->id.value)].order;
    const auto body = bodies_.find(claim->worker);
    if (body == bodies_.end()) {
      fail("claimed for a worker that is not there", claim->id);
    } else if (body->second.drained) {
      fail("claimed for a worker that drains", claim->id);
    } else if (body->second.closed) {
      fail("claimed for a worker whose socket is closed", claim->id);
    }
  } else if (const auto* finish = std::get_if<FinishOp>(&op.what)) {
    if (is_under_way(finish->id)) fail("ended while something else is under way", finish->id);
    const auto stored = store_.find(finish->id.value);
    if (stored != store_.end() && finish->state == TaskState::expired &&
        stored->second.facts.state == TaskState::running) {
      fail("expired while it ran", finish->id);
    }
  } else if (const auto* back = std::get_if<RequeueOp>(&op.what)) {
    if (is_under_way(back->id)) fail("requeued while something else is under way", back->id);
    const bool keeps = back->record.outcome == AttemptOutcome::given_back ||
                       back->record.outcome == AttemptOutcome::interrupted;
    if (keeps && orders_.count(back->id.value) != 0 && orders_.at(back->id.value) != back->order) {
      fail("lost its place through no fault of its own", back->id);
    }
  }
  under_way_.push_back(op);
}

void TaskRig::on(const SendTask& action) {
  const auto stored = store_.find(action.id.value);
  if (stored == store_.end() || stored->second.facts.state != TaskState::running ||
      stored->second.facts.worker != action.worker ||
      stored->second.facts.counters.attempts != action.attempt) {
    return fail("sent, but its claim is not on record", action.id);
  }
  if (!sent_.insert({action.id.value, action.attempt}).second) {
    if (!action.again) fail("the same attempt was sent twice", action.id);
    return;  // the worker has had it, and ignores it
  }
  const auto found = bodies_.find(action.worker);
  if (found == bodies_.end()) return fail("sent to a worker that is not there", action.id);
  Body& body = found->second;
  const bool has_it = body.has.count(action.id.value) != 0;
  if (has_it) return fail("sent to a worker that has it", action.id);
  if (body.drained && !action.again) fail("sent to a worker that drains", action.id);
  if (body.has.size() >= menu_.credit) fail("a worker was given more than its credit", action.id);
  ++body.given;
  if (menu_.limit != 0 && body.given > menu_.limit)
    fail("a worker was given more than its limit", action.id);
  body.has[action.id.value] = action.attempt;
}

void TaskRig::on(const SendCancel& action) {
  if (bodies_.count(action.worker) == 0) fail("cancel for a worker that is not there", action.id);
}

void TaskRig::on(const SendDrain& action) {
  const auto body = bodies_.find(action.worker);
  if (body == bodies_.end()) return fail("drain for a worker that is not there");
  body->second.drained = true;
}

void TaskRig::on(const KillWorker& action) {
  const auto body = bodies_.find(action.worker);
  if (body == bodies_.end()) return fail("kill of a worker that is not there");
  if (body->second.killed) fail("a worker was killed twice");
  body->second.killed = true;
  if (action.cause == KillCause::protocol) {
    if (!body->second.misbehaved && !body->second.closed)
      fail("a worker was killed for nonsense that it did not say");
    body->second.misbehaved = true;
  }
}

void TaskRig::on(const WorkerLoad& action) {
  // What has been answered, but not read by this broker, is still the worker's.
  if (bodies_.count(action.worker) != 0 && action.running > menu_.credit + in_sockets_.size())
    fail("a load above the credit was told");
}

void TaskRig::on(const WorkerSpent& action) {
  const auto body = bodies_.find(action.worker);
  if (body != bodies_.end()) body->second.spent = true;
}

void TaskRig::on(const WorkerDrained& action) {
  const auto body = bodies_.find(action.worker);
  if (body == bodies_.end()) return;
  if (body->second.draining_said) fail("drained was said twice");
  body->second.draining_said = true;
  for (const auto& [id, attempt] : body->second.has) {
    const auto stored = store_.find(id);
    if (stored != store_.end() && stored->second.facts.state == TaskState::running &&
        stored->second.facts.counters.attempts == attempt && unsettled_.count({id, attempt}) == 0) {
      fail("drained was said while the worker has a task", TaskId{id});
    }
  }
}

void TaskRig::on(const AnswerSettled& action) {
  const std::pair<std::uint64_t, std::uint32_t> key{action.id.value, action.attempt};
  if (late_.erase(key) != 0) {
    if (action.taken) fail("a late answer was taken", action.id);
    return;
  }
  if (unsettled_.erase(key) == 0) return fail("an answer was settled that nobody gave", action.id);
  const auto stored = store_.find(action.id.value);
  if (action.taken && stored != store_.end() && stored->second.facts.state == TaskState::running &&
      stored->second.facts.counters.attempts == action.attempt) {
    fail("an answer was settled that is not on record", action.id);
  }
}

void TaskRig::on(const PutAccepted& action) {
  const auto ticket = tickets_.find(action.ticket.value);
  if (ticket == tickets_.end() || ticket->second != kPut) return fail("a put was answered twice");
  tickets_.erase(ticket);
  if (action.tasks.size() != menu_.batch) fail("a batch was put in part");
  for (const PutOutcome& outcome : action.tasks) {
    const auto stored = store_.find(outcome.id.value);
    if (stored == store_.end()) {
      fail("accepted, but not on record", outcome.id);
    } else {
      stored->second.accepted = true;
    }
  }
}

void TaskRig::on(const Revived& action) {
  const auto ticket = tickets_.find(action.ticket.value);
  if (ticket == tickets_.end() || ticket->second != kRevive)
    return fail("a revival was answered twice");
  tickets_.erase(ticket);
  const auto stored = store_.find(action.id.value);
  if (stored == store_.end() || is_final(stored->second.facts.state))
    fail("revived, but not on record", action.id);
}

void TaskRig::on(const Refused& action) {
  if (tickets_.erase(action.ticket.value) == 0) fail("a request was answered twice");
}

void TaskRig::on(const CancelAnswered& action) {
  const auto ticket = tickets_.find(action.ticket.value);
  if (ticket == tickets_.end() || ticket->second < 0) return fail("a cancel was answered twice");
  if (action.cancelled + action.asked + action.unknown !=
      static_cast<std::uint32_t>(ticket->second)) {
    fail("a cancel was answered for another number of tasks");
  }
  tickets_.erase(ticket);
}

void TaskRig::on(const Settled& action) {
  const auto found = store_.find(action.id.value);
  if (found == store_.end() || found->second.facts.state != action.state)
    return fail("said to be final, but not on record as such", action.id);
  const Stored& stored = found->second;
  if (!settled_.insert(action.id.value).second) fail("became final twice", action.id);
  if (action.state != TaskState::dead) return;
  const std::uint32_t most = spec_.on_lost == OnLost::dead ? 1 : spec_.max_crashes;
  if (action.reason == Reason::crashed && stored.crashes < most)
    fail("given up for crashes that were not its own", action.id);
  if ((action.reason == Reason::failed || action.reason == Reason::timeout) &&
      stored.facts.counters.failures < spec_.max_attempts) {
    fail("given up too early", action.id);
  }
  if (action.reason == Reason::no_retry && stored.refusals == 0)
    fail("given up although nobody said so", action.id);
}

void TaskRig::on(const QueueDrained&) {
  for (const auto& [id, stored] : store_) {
    if (!is_final(stored.facts.state)) fail("drained was said of a queue with tasks", TaskId{id});
  }
}

}  // namespace mtd::test
