// What happens to the queue: each choice that is taken, and what follows of it.
#include "tests/explore/task_rig.h"

#include <algorithm>
#include <utility>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"

namespace mtd::test {

using namespace task;
using Kind = TaskRig::Choice::Kind;

TaskRig::TaskRig(QueueSpec spec, TaskMenu menu)
    : menu_(menu), spec_(spec), queue_(spec, {}, Now{now_, WallTime{now_.count_ns()}}) {
  for (std::uint32_t slot = 0; slot < menu_.slots; ++slot)
    attach(slot);
  step(AllAttached{});
}

Now TaskRig::now() const {
  return Now{now_, WallTime{now_.count_ns()}};
}

void TaskRig::fail(const std::string& what) {
  if (wrong_.empty()) wrong_ = what;
}

void TaskRig::fail(const std::string& what, TaskId id) {
  fail("task " + std::to_string(id.value) + ": " + what);
}

void TaskRig::step(Event event) {
  group_told_ = false;
  for (const Action& action : queue_.step(std::move(event), now(), entropy_))
    perform(action);
  check();
}

void TaskRig::perform(const Action& action) {
  std::visit([this](const auto& which) { on(which); }, action);
}

void TaskRig::take(const Choice& choice, std::uint64_t entropy) {
  entropy_ = entropy;
  switch (choice.kind) {
    case Kind::put:
      put();
      break;
    case Kind::commit:
      commit(StoreStatus::committed);
      break;
    case Kind::commit_early:
      std::rotate(under_way_.begin(), under_way_.begin() + static_cast<std::ptrdiff_t>(early()),
                  under_way_.begin() + static_cast<std::ptrdiff_t>(early()) + 1);
      commit(StoreStatus::committed);
      break;
    case Kind::commit_full:
      commit(StoreStatus::full);
      break;
    case Kind::tighten:
      tight_ = true;
      break;
    case Kind::commit_broken:
      broken_ = true;
      commit(StoreStatus::failed);
      break;
    case Kind::done:
    case Kind::fail:
    case Kind::no_retry:
    case Kind::late:
      answer(choice);
      break;
    case Kind::crash: {
      const bool killed = bodies_.at(choice.worker).killed;
      lose(choice.worker, Death{DeathCause::signal, killed ? 9 : 11});
      break;
    }
    case Kind::stop:
      lose(choice.worker, Death{DeathCause::stopped, 0});
      break;
    case Kind::misbehave:
      bodies_.at(choice.worker).misbehaved = true;
      step(WorkerMisbehaved{choice.worker});
      break;
    case Kind::close:
      bodies_.at(choice.worker).closed = true;
      step(WorkerClosed{choice.worker});
      break;
    case Kind::drain:
      step(WorkerDrains{choice.worker, std::nullopt});
      break;
    case Kind::recycle:
      step(WorkerRecycles{choice.worker});
      break;
    case Kind::attach:
      ++spares_;
      attach(choice.worker.slot);
      break;
    case Kind::ready:
      bodies_.at(choice.worker).ready = true;
      step(WorkerReady{choice.worker, menu_.credit});
      break;
    case Kind::cancel:
    case Kind::cancel_now: {
      ++cancels_;
      Cancel request;
      request.ticket = Ticket{next_ticket_++};
      request.ids = {choice.id};
      request.now = choice.kind == Kind::cancel_now;
      tickets_[request.ticket.value] = 1;
      step(request);
      break;
    }
    case Kind::cancel_group: {
      ++cancels_;
      Cancel request;
      request.ticket = Ticket{next_ticket_++};
      request.group = kGroup;
      tickets_[request.ticket.value] = static_cast<int>(queue_.live_in_group(kGroup));
      step(request);
      break;
    }
    case Kind::revive:
      ++revives_;
      tickets_[next_ticket_] = kRevive;
      step(Revive{Ticket{next_ticket_++}, choice.id});
      break;
    case Kind::deadline:
      now_ = std::max(now_, queue_.next_deadline());
      step(Tick{});
      break;
    case Kind::restart:
      ++restarts_;
      restart(choice.number);
      break;
    case Kind::pause:
      paused_ = true;
      step(Pause{});
      break;
    case Kind::resume:
      paused_ = false;
      step(Resume{});
      break;
  }
  if (!menu_.lazy_commits) eager();
}

void TaskRig::eager() {
  for (int turn = 0; turn < 1000 && !under_way_.empty() && wrong_.empty(); ++turn)
    commit(StoreStatus::committed);
}

void TaskRig::put() {
  Put event;
  event.ticket = Ticket{next_ticket_++};
  for (std::uint32_t i = 0; i < menu_.batch; ++i) {
    PutTask task;
    task.id = TaskId{next_id_++};
    const bool second = task.id.value % 2 == 0;
    if (menu_.delay && second) task.delay = kTaskUnit;
    if (menu_.expire && second) task.expires = kTaskUnit.scaled_by(2);
    if (menu_.priority) task.priority = second ? -1 : 0;
    if (menu_.group) task.group = kGroup;
    event.tasks.push_back(task);
  }
  tickets_[event.ticket.value] = kPut;
  step(event);
}

void TaskRig::answer(const Choice& choice) {
  if (choice.kind == Kind::late) {
    late_.insert({choice.id.value, choice.attempt});
    TaskDone fact;
    fact.worker = choice.worker;
    fact.id = choice.id;
    fact.attempt = choice.attempt;
    return step(fact);
  }
  const bool current = queue_.holds(choice.worker, choice.id, choice.attempt);
  auto& books = current ? unsettled_ : late_;
  books.insert({choice.id.value, choice.attempt});
  bodies_.at(choice.worker).has.erase(choice.id.value);
  if (choice.kind == Kind::done) {
    TaskDone fact;
    fact.worker = choice.worker;
    fact.id = choice.id;
    fact.attempt = choice.attempt;
    return step(fact);
  }
  Stored& stored = store_.at(choice.id.value);
  if (current) ++(choice.kind == Kind::no_retry ? stored.refusals : stored.failures);
  TaskFailed fact;
  fact.worker = choice.worker;
  fact.id = choice.id;
  fact.attempt = choice.attempt;
  fact.retry = choice.kind != Kind::no_retry;
  step(fact);
}

void TaskRig::lose(WorkerKey key, Death death) {
  const Body body = bodies_.at(key);
  const Queue::State& state = queue_.state();
  for (const auto& [id, attempt] : body.has) {
    if (death.cause != DeathCause::signal && !body.misbehaved) continue;
    if (body.killed && !body.misbehaved) continue;
    if (!queue_.holds(key, TaskId{id}, attempt)) continue;
    const Task& of = state.tasks[state.by_id.at(id)];
    const auto& running = std::get<Running>(of.place);
    if (of.cancel || running.stage == Stage::timed_out || running.timed_out) continue;
    ++store_.at(id).crashes;
  }
  bodies_.erase(key);
  step(WorkerLost{key, death});
}

void TaskRig::attach(std::uint32_t slot) {
  const WorkerKey key{slot, ++incarnations_[slot]};
  bodies_.emplace(key, Body());
  step(WorkerAttached{key, menu_.limit, 0});
}

// The broker dies: of what it had asked of the store, so much was committed. Its successor reads
// the store, meets the workers again, and what they answered meanwhile.
void TaskRig::restart(std::size_t committed) {
  for (std::size_t i = 0; i < committed; ++i) {
    StoreDone ignored;
    (void)apply(under_way_[i], ignored);
  }
  under_way_.clear();
  orders_.clear();
  tickets_.clear();  // its clients have lost their connections
  Recovered recovered;
  for (const auto& [id, stored] : store_) {
    if (!is_final(stored.facts.state)) recovered.tasks.push_back(stored.facts);
    if (is_final(stored.facts.state)) settled_.insert(id);
    if (stored.facts.state == TaskState::running) orders_[id] = stored.facts.order;
  }
  queue_ = Queue(spec_, recovered, now());
  group_live_ = queue_.live_in_group(kGroup);
  const auto answers = std::exchange(unsettled_, {});
  in_sockets_ = answers;
  late_.clear();
  for (auto& [key, body] : bodies_) {
    body.drained = body.killed = body.draining_said = body.spent = body.misbehaved = false;
    step(WorkerAttached{key, menu_.limit, body.given});
    if (body.ready) step(WorkerReady{key, menu_.credit});
    if (body.closed) step(WorkerClosed{key});
  }
  step(AllAttached{});
  if (paused_) step(Pause{});
  // Their frames are still in the sockets.
  for (const auto& [id, attempt] : answers) {
    for (const auto& [key, body] : bodies_) {
      if (!queue_.holds(key, TaskId{id}, attempt)) continue;
      bodies_.at(key).has.erase(id);
      in_sockets_.erase({id, attempt});
      unsettled_.insert({id, attempt});
      TaskDone fact;
      fact.worker = key;
      fact.id = TaskId{id};
      fact.attempt = attempt;
      step(fact);
      break;
    }
  }
  in_sockets_.clear();
}

}  // namespace mtd::test
