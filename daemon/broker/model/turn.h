// Turn: one step of a queue. Applies one event, lets deadlines fire, lets in puts that there is
// room for, gives tasks to workers. Every change of a task's place goes through move(), which keeps
// the counts, the order of the waiting and the deadlines true.
//
// The files: turn.cpp (order of a step, places), puts.cpp, dispatch.cpp, answers.cpp (what workers
// say), workers.cpp (their lives), cancel.cpp, completions.cpp (of the store), time.cpp,
// recover.cpp.
#pragma once

#include <utility>
#include <vector>

#include "common/entropy.h"
#include "daemon/broker/model/seeded_fault.h"
#include "daemon/broker/model/state.h"

namespace mtd::task {

class Turn {
 public:
  Turn(Queue::State& state, Now now, std::uint64_t entropy, std::vector<Action>& actions)
      : state_(state), now_(now), entropy_(entropy), actions_(actions) {}

  void run(Event&& event);
  // A new queue takes over what the store had.
  void recover(Recovered recovered);

 private:
  // Requests
  void apply(Tick&&) {}
  void apply(Put&& put);
  void apply(Cancel&& cancel);
  void apply(Forget&& forget);
  void apply(Revive&& revive);
  void apply(Pause&&);
  void apply(Resume&&);
  void apply(Close&&);
  void apply(Reconfigure&& reconfigure);
  // Workers
  void apply(WorkerAttached&& fact);
  void apply(WorkerReady&& fact);
  void apply(WorkerDrains&& fact);
  void apply(WorkerRecycles&& fact);
  void apply(WorkerLost&& fact);
  void apply(WorkerMisbehaved&& fact);
  void apply(WorkerClosed&& fact);
  void apply(AllAttached&&);
  void apply(TaskDone&& fact);
  void apply(TaskFailed&& fact);
  void apply(TaskExtended&& fact);
  // The store
  void apply(StoreDone&& done);
  void complete(PutOp& op, StoreDone& done);
  void complete(ClaimOp& op, StoreDone& done);
  void complete(FinishOp& op, StoreDone& done);
  void complete(RequeueOp& op, StoreDone& done);
  void complete(PromoteOp& op, StoreDone& done);
  void complete(CancelOp& op, StoreDone& done);
  void complete(ReviveOp& op, StoreDone& done);
  void complete(CollectOp& op, StoreDone& done);
  void complete(RemoveOp&, StoreDone&) {}
  void complete(ProbeOp& op, StoreDone& done);

  // Tasks (turn.cpp)
  [[nodiscard]] Slot find(TaskId id) const;  // kNone: not here
  [[nodiscard]] Task& task_at(Slot slot) { return state_.tasks[slot]; }
  [[nodiscard]] Slot make(const TaskFacts& facts, Place place);
  void move(Slot slot, Place place);
  void drop(Slot slot);
  void arm(Slot slot);
  void join_group(Slot slot, const std::string& name);
  void leave_group(Slot slot);
  void place_queued(Slot slot, TaskState state, WallTime due, bool by_wall);

  // Puts (puts.cpp)
  void admit(Put& put);
  void admit_blocked();
  void block(Put& put, std::uint64_t bytes, Duration patience);
  void refuse(Ticket ticket, Refusal why, std::size_t tasks);
  void refuse_blocked(Refusal why);
  [[nodiscard]] TaskFacts facts_of(const PutTask& wanted, Durability durability);

  // Giving out (dispatch.cpp)
  void dispatch();
  void claim(Slot slot, const WorkerKey& key, Worker& worker);
  void send(Slot slot, const WorkerKey& key, Worker& worker);
  void start_clock(const Task& task, Running& running) const;
  void give_back(Slot slot, const WorkerKey& key);

  // Workers (workers.cpp)
  [[nodiscard]] Worker* worker_of(const WorkerKey& key);
  void list(const WorkerKey& key, Worker& worker);
  void unlist(const WorkerKey& key, Worker& worker);
  void confirm(const WorkerKey& key, Worker& worker);
  void take_from(const WorkerKey& key, Slot slot);
  void say_load(const WorkerKey& key, const Worker& worker);
  void check_drained(const WorkerKey& key, Worker& worker);
  void become_spent(const WorkerKey& key, Worker& worker);
  void end_worker(const WorkerKey& key, KillCause cause);
  void lose(Slot slot, const Death& death, bool innocent);

  // How an attempt ends (answers.cpp)
  [[nodiscard]] Slot held(const WorkerKey& worker, TaskId id, std::uint32_t attempt);
  void settle_late(const WorkerKey& worker, TaskId id, std::uint32_t attempt);
  void count_answer(const WorkerKey& key);
  [[nodiscard]] AttemptRecord record_of(const Task& task, AttemptOutcome outcome,
                                        const Death& death) const;
  void finish(Slot slot, TaskState state, Reason reason, std::optional<AttemptRecord> record,
              AnswerRef answer, bool answered);
  void requeue(Slot slot, Reason reason, Duration delay, bool keep_order, AttemptRecord record,
               AnswerRef answer, bool answered);
  void fail(Slot slot, Reason reason, std::optional<Duration> delay, bool retry, AnswerRef answer,
            bool answered, const Death& death);
  void crash(Slot slot, const Death& death, AnswerRef answer, bool answered);
  void interrupt(Slot slot, const Death& death);

  // Cancelling (cancel.cpp)
  void cancel(Slot slot, const Cancel& request);
  void cancel_running(Slot slot, Running& running, const Cancel& request);
  void ask_to_stop(Slot slot, bool now);
  void await(Slot slot, Ticket ticket);
  void answer_waiters(TaskId id, std::uint32_t CancelAnswered::*how);
  void send_if_complete(Ticket ticket);
  void refuse_cancels();
  [[nodiscard]] bool finish_if_cancelled(Slot slot);
  void finish_left_cancelled();

  // The store (completions.cpp)
  template <class Op>
  void submit(Durability durability, Op&& what) {
    StoreOp& op = std::get<Submit>(actions_.emplace_back(std::in_place_type<Submit>)).op;
    op.durability = durability;
    op.what = std::forward<Op>(what);
  }
  void store_is_full(Durability durability);
  void store_stands(Durability durability);
  void try_again(StoreSide& side);
  void store_has_failed();
  [[nodiscard]] bool took(StoreDone& done);

  // Time (time.cpp)
  void adjust_clock();
  void fire_deadlines();
  void expire(Slot slot);
  void expire_running(Slot slot, Running& running);
  void promote(Slot slot);
  void expire_blocked();
  void end_closed();
  void probe(StoreSide& side, Durability durability);
  void collect(StoreSide& side, Durability durability);
  void plan_collect(StoreSide& side);
  void note_final(Durability durability, TaskState state, WallTime finished);

  template <class Which>
  void emit(Which&& action) {
    actions_.emplace_back(std::forward<Which>(action));
  }

  Queue::State& state_;
  Now now_;
  Entropy entropy_;
  std::vector<Action>& actions_;
  bool something_left_ = false;  // a task has gone in this step
};

}  // namespace mtd::task
