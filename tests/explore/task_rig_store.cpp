// The store of the simulated world.
#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;

TaskRig::Stored* TaskRig::guarded(TaskId id, std::uint32_t attempt) {
  const auto stored = store_.find(id.value);
  if (stored == store_.end() || is_final(stored->second.facts.state)) return nullptr;
  return stored->second.facts.counters.attempts == attempt ? &stored->second : nullptr;
}

StoreStatus TaskRig::apply(const StoreOp& op, StoreDone& done) {
  if (const auto* put = std::get_if<PutOp>(&op.what)) {
    for (const NewTask& task : put->tasks) {
      Stored stored;
      stored.facts = task.facts;
      store_[task.facts.id.value] = stored;
      done.puts.push_back({task.facts.id, Existed::no});
    }
    return StoreStatus::committed;
  }
  if (const auto* claim = std::get_if<ClaimOp>(&op.what)) {
    Stored* stored = guarded(claim->id, claim->attempt - 1);
    if (stored == nullptr || stored->facts.state == TaskState::running) return StoreStatus::missing;
    stored->facts.state = TaskState::running;
    stored->facts.counters.attempts = claim->attempt;
    stored->facts.worker = claim->worker;
    stored->facts.started = claim->started;
    return StoreStatus::committed;
  }
  if (const auto* finish = std::get_if<FinishOp>(&op.what)) {
    Stored* stored = guarded(finish->id, finish->attempt);
    if (stored == nullptr) return StoreStatus::missing;
    stored->facts.state = finish->state;
    stored->facts.counters = finish->counters;
    stored->reason = finish->reason;
    return StoreStatus::committed;
  }
  if (const auto* back = std::get_if<RequeueOp>(&op.what)) {
    Stored* stored = guarded(back->id, back->attempt);
    if (stored == nullptr) return StoreStatus::missing;
    stored->facts.state = back->state;
    stored->facts.due = back->due;
    stored->facts.order = back->order;
    stored->facts.counters = back->counters;
    return StoreStatus::committed;
  }
  if (const auto* promote = std::get_if<PromoteOp>(&op.what)) {
    const auto stored = store_.find(promote->id.value);
    if (stored == store_.end() || stored->second.facts.state != TaskState::scheduled)
      return StoreStatus::missing;
    stored->second.facts.state = TaskState::waiting;
    stored->second.facts.order = promote->order;
    return StoreStatus::committed;
  }
  if (const auto* revive = std::get_if<ReviveOp>(&op.what)) {
    const auto stored = store_.find(revive->id.value);
    if (stored == store_.end() || !is_final(stored->second.facts.state) ||
        stored->second.facts.state == TaskState::done)
      return StoreStatus::missing;
    TaskFacts& facts = stored->second.facts;
    facts.state = TaskState::waiting;
    facts.order = revive->order;
    facts.counters = Counters{facts.counters.attempts, 0, 0, 0};
    facts.expires = WallTime::never();
    facts.cancel.reset();
    stored->second = Stored{facts, Reason::none, 0, 0, 0, true};
    settled_.erase(revive->id.value);
    done.facts = facts;
    return StoreStatus::committed;
  }
  if (const auto* cancel = std::get_if<CancelOp>(&op.what)) {
    Stored* stored = guarded(cancel->id, cancel->attempt);
    if (stored == nullptr) return StoreStatus::missing;
    stored->facts.cancel = cancel->reason;
    return StoreStatus::committed;
  }
  return StoreStatus::committed;
}

std::size_t TaskRig::early() const {
  const auto found =
      std::find_if_not(under_way_.begin(), under_way_.end(), waits_for_sync) - under_way_.begin();
  return found < std::ssize(under_way_) ? static_cast<std::size_t>(found) : 0;
}

void TaskRig::commit(StoreStatus status) {
  if (under_way_.empty()) return;
  StoreDone done;
  done.op = under_way_.front();
  under_way_.pop_front();
  const bool wants_room = std::holds_alternative<PutOp>(done.op.what) ||
                          std::holds_alternative<ReviveOp>(done.op.what) ||
                          std::holds_alternative<ProbeOp>(done.op.what);
  if (tight_ && wants_room) status = StoreStatus::full;
  if (broken_) status = StoreStatus::failed;
  done.status = status == StoreStatus::committed ? apply(done.op, done) : status;
  const bool optional = std::holds_alternative<PromoteOp>(done.op.what) ||
                        std::holds_alternative<ReviveOp>(done.op.what) ||
                        std::holds_alternative<CancelOp>(done.op.what);
  if (done.status == StoreStatus::missing && !optional)
    fail("the store was asked for what is not there");
  step(std::move(done));
}

}  // namespace mtd::test
