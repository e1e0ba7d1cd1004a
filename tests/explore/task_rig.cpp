#include "tests/explore/task_rig.h"

#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"

namespace mtd::test {

using namespace task;
using Kind = TaskRig::Choice::Kind;

namespace {

constexpr const char* kGroup = "g";

}  // namespace

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

// ---- What the queue does, and whether it may ----------------------------------------------------
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

// ---- What must hold between steps ---------------------------------------------------------------
void TaskRig::check() {
  const Queue::State& state = queue_.state();
  std::set<std::uint64_t> entering;
  for (const StoreOp& op : under_way_) {
    if (const auto* put = std::get_if<PutOp>(&op.what)) {
      for (const NewTask& task : put->tasks)
        entering.insert(task.facts.id.value);
    }
  }
  for (const auto& [id, slot] : state.by_id) {
    const auto stored = store_.find(id);
    const bool live = stored != store_.end() && !is_final(stored->second.facts.state);
    if (!live && entering.count(id) == 0) fail("in the queue, but not in the store", TaskId{id});
  }
  for (const auto& [id, stored] : store_) {
    if (!is_final(stored.facts.state) && state.by_id.count(id) == 0)
      fail("in the store, but not in the queue: lost", TaskId{id});
    if (stored.crashes > spec_.max_crashes)
      fail("may kill more workers than max_crashes", TaskId{id});
  }
  const QueueView view = queue_.view();
  if (view.waiting != state.ready.size()) fail("the count of waiting tasks is wrong");
  if (queue_.next_deadline() < now_) fail("a deadline was left in the past");
  std::uint64_t queued = 0, bytes = 0, ending = 0;
  for (const auto& [id, slot] : state.by_id) {
    const Task& of = state.tasks[slot];
    if (is_queued(of.place)) {
      ++queued;
      bytes += of.bytes;
    }
    if (is_in<Ending>(of)) ++ending;
  }
  if (queued != state.queued || bytes != view.bytes) fail("the fill of the queue is wrong");
  if (view.waiting + view.scheduled + view.running + view.entering + ending != state.by_id.size())
    fail("the counts do not add up");
  for (const auto& [key, worker] : state.workers) {
    const auto body = bodies_.find(key);
    if (body == bodies_.end()) return fail("the queue has a worker that is not there");
    const auto owed = [&](Slot slot) {
      const Task& of = state.tasks[slot];
      return in_sockets_.count({of.id.value, of.counters.attempts}) == 0;
    };
    const auto owes = std::count_if(worker.tasks.begin(), worker.tasks.end(), owed);
    if (worker.ready && static_cast<std::uint64_t>(owes) > worker.credit)
      fail("more tasks than credit");
  }
  if (!menu_.group) return;
  const std::uint64_t live = queue_.live_in_group(kGroup);
  if (live != state.by_id.size()) fail("the group has not the members that it has");
  if (group_live_ != 0 && live == 0 && !group_told_) fail("the end of a group was not told");
  group_live_ = live;
}

// ---- The store ----------------------------------------------------------------------------------
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
  if (broken_) status = StoreStatus::failed;
  done.status = status == StoreStatus::committed ? apply(done.op, done) : status;
  const bool optional = std::holds_alternative<PromoteOp>(done.op.what) ||
                        std::holds_alternative<ReviveOp>(done.op.what) ||
                        std::holds_alternative<CancelOp>(done.op.what);
  if (done.status == StoreStatus::missing && !optional)
    fail("the store was asked for what is not there");
  step(std::move(done));
}

// ---- What may happen next -----------------------------------------------------------------------
std::vector<TaskRig::Choice> TaskRig::choices() const {
  std::vector<Choice> all;
  const auto add = [&all](const char* text, Kind kind, WorkerKey worker = {}, TaskId id = {},
                          std::uint32_t attempt = 0) {
    Choice choice;
    choice.text = text;
    if (worker.incarnation != 0) choice.text += " " + std::to_string(worker.slot);
    if (id.value != 0) choice.text += " task " + std::to_string(id.value);
    choice.kind = kind;
    choice.worker = worker;
    choice.id = id;
    choice.attempt = attempt;
    all.push_back(std::move(choice));
  };
  if (next_id_ <= menu_.puts) add("put", Kind::put);
  if (!under_way_.empty()) {
    add("commit", Kind::commit);
    if (menu_.early && early() != 0) add("commit of what needs no sync", Kind::commit_early);
    if (menu_.full && !broken_) add("no room", Kind::commit_full);
    if (menu_.broken && !broken_) add("store breaks", Kind::commit_broken);
  }
  for (const auto& [key, body] : bodies_) {
    for (const auto& [id, attempt] : body.has) {
      if (unsettled_.count({id, attempt}) != 0 || body.closed) continue;  // answered, or cannot
      add("done", Kind::done, key, TaskId{id}, attempt);
      if (menu_.fail) add("fails", Kind::fail, key, TaskId{id}, attempt);
      if (menu_.no_retry) add("fails for good", Kind::no_retry, key, TaskId{id}, attempt);
    }
    if (menu_.crash || body.killed) add("crash", Kind::crash, key);
    if (menu_.stop || body.draining_said) add("stopped", Kind::stop, key);
    if (menu_.misbehave && !body.killed) add("nonsense", Kind::misbehave, key);
    if (menu_.close && !body.closed && body.ready) add("close", Kind::close, key);
    if (menu_.drain && !body.drained && body.ready) add("drain", Kind::drain, key);
    if (menu_.recycle && !body.spent && body.ready && !body.closed)
      add("recycle", Kind::recycle, key);
    if (!body.ready && !body.closed) add("ready", Kind::ready, key);
    if (menu_.late && body.ready && !body.closed) {
      for (const auto& [id, attempt] : sent_) {
        const bool current = body.has.count(id) != 0 && body.has.at(id) == attempt;
        if (!current && late_.count({id, attempt}) == 0 && unsettled_.count({id, attempt}) == 0)
          add("late", Kind::late, key, TaskId{id}, attempt);
      }
    }
  }
  for (std::uint32_t slot = 0; slot < menu_.slots && spares_ < menu_.spares; ++slot) {
    const auto in_slot = [slot](const auto& body) { return body.first.slot == slot; };
    if (std::none_of(bodies_.begin(), bodies_.end(), in_slot))
      add("new worker", Kind::attach, WorkerKey{slot, 1});
  }
  if (cancels_ < menu_.cancels) {
    for (std::uint64_t id = 1; id < next_id_; ++id) {
      add("cancel", Kind::cancel, {}, TaskId{id});
      add("cancel now", Kind::cancel_now, {}, TaskId{id});
    }
    if (menu_.group) add("cancel the group", Kind::cancel_group);
  }
  if (revives_ < menu_.revives) {
    for (const auto& [id, stored] : store_) {
      if (is_final(stored.facts.state)) add("revive", Kind::revive, {}, TaskId{id});
    }
  }
  if (!queue_.next_deadline().is_never()) add("deadline", Kind::deadline);
  if (menu_.pause) {
    add(paused_ ? "resume" : "pause", paused_ ? Kind::resume : Kind::pause);
  }
  if (menu_.restart && restarts_ < menu_.restarts) {
    for (std::size_t number = 0; number <= under_way_.size(); ++number) {
      add("restart", Kind::restart);
      all.back().number = number;
      all.back().text += " after " + std::to_string(number);
    }
  }
  return all;
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

void TaskRig::come_to_rest(bool stubborn) {
  if (broken_) return;
  menu_.spares = 1'000'000;
  menu_.crash = menu_.stop = menu_.full = menu_.broken = menu_.misbehave = menu_.drain = false;
  menu_.close = false;
  menu_.cancels = menu_.revives = 0;
  if (paused_) {
    paused_ = false;
    step(Resume{});
  }
  for (int turn = 0; turn < 50'000 && wrong_.empty(); ++turn) {
    const auto offered = choices();
    const Choice* best = nullptr;
    int rank = 99;
    for (const Choice& choice : offered) {
      int of = 99;
      switch (choice.kind) {
        case Kind::commit:
          of = 0;
          break;
        case Kind::crash:  // only those that are being killed
          of = 1;
          break;
        case Kind::stop:
          of = 2;
          break;
        case Kind::attach:
        case Kind::ready:
          of = 3;
          break;
        case Kind::done:
          of = stubborn ? 99 : 4;
          break;
        case Kind::deadline:
          of = 5;
          break;
        default:
          break;
      }
      if (of < rank) {
        rank = of;
        best = &choice;
      }
    }
    const bool all_final = std::all_of(store_.begin(), store_.end(), [](const auto& stored) {
      return is_final(stored.second.facts.state);
    });
    if (all_final && under_way_.empty() && queue_.state().by_id.empty()) {
      if (!tickets_.empty()) fail("a client was never answered");
      return;
    }
    // A worker that will be given nothing any more is replaced.
    const auto replaceable = [](const auto& entry) {
      return (entry.second.spent || entry.second.drained) && entry.second.has.empty();
    };
    const auto idle = std::find_if(bodies_.begin(), bodies_.end(), replaceable);
    if (rank >= 4 && idle != bodies_.end()) {
      lose(idle->first, Death{DeathCause::stopped, 0});
      continue;
    }
    if (best == nullptr) return fail("tasks are left, and nothing is waited for");
    const Choice chosen = *best;
    take(chosen, 1);
  }
  fail("tasks never become final");
}

// ---- Canonical form -----------------------------------------------------------------------------
namespace {

class Hash {
 public:
  void add(std::uint64_t value) {
    a_ = (a_ ^ value) * 0x100000001b3ULL;
    b_ = (b_ + value) * 0x9e3779b97f4a7c15ULL;
    b_ ^= b_ >> 29;
  }
  void add(Instant at, Instant now) {
    if (at.is_never()) return add(~std::uint64_t{0});
    add(at > now ? static_cast<std::uint64_t>(at.since(now).count_ms()) + 1 : 0);
  }
  [[nodiscard]] std::uint64_t value() const { return a_ ^ (b_ << 1); }

 private:
  std::uint64_t a_ = 0xcbf29ce484222325ULL, b_ = 1;
};

}  // namespace

std::uint64_t TaskRig::canonical() const {
  const Queue::State& state = queue_.state();
  Hash hash;
  hash.add((paused_ ? 1U : 0U) | (broken_ ? 2U : 0U) | (state.adopting ? 4U : 0U));
  hash.add(next_id_);
  hash.add(spares_ | (cancels_ << 8U) | (restarts_ << 16U) | (revives_ << 24U));
  std::map<std::uint64_t, Slot> tasks(state.by_id.begin(), state.by_id.end());
  std::vector<std::uint64_t> orders;
  for (const auto& [id, slot] : tasks)
    orders.push_back(state.tasks[slot].order);
  std::sort(orders.begin(), orders.end());
  for (const auto& [id, slot] : tasks) {
    const Task& task = state.tasks[slot];
    hash.add(id);
    hash.add(task.place.index());
    hash.add(static_cast<std::uint64_t>(std::lower_bound(orders.begin(), orders.end(), task.order) -
                                        orders.begin()));
    hash.add(task.counters.failures | (task.counters.crashes << 8U));
    hash.add(task.cancel ? 1 + static_cast<std::uint64_t>(*task.cancel) : 0);
    hash.add(state.instant_at(task.expires), now_);
    if (const auto* scheduled = std::get_if<Scheduled>(&task.place)) hash.add(scheduled->due, now_);
    if (const auto* running = std::get_if<Running>(&task.place)) {
      hash.add(running->deadline, now_);
      hash.add(static_cast<std::uint64_t>(running->stage));
      hash.add((running->timed_out ? 1U : 0U) | (running->unconfirmed ? 2U : 0U) |
               (running->cancel_pending ? 4U : 0U) | (running->cancel_now ? 8U : 0U));
      hash.add(running->worker.slot);
    }
    if (const auto* claiming = std::get_if<Claiming>(&task.place)) {
      hash.add(claiming->worker.slot + (bodies_.count(claiming->worker) != 0 ? 100U : 0U));
    }
    if (const auto* back = std::get_if<Requeueing>(&task.place)) hash.add(back->due, now_);
  }
  for (const auto& [key, worker] : state.workers) {
    hash.add(900 + key.slot);
    hash.add((worker.ready ? 1U : 0U) | (worker.draining ? 2U : 0U) | (worker.spent ? 4U : 0U) |
             (worker.killed ? 8U : 0U) | (worker.misbehaved ? 16U : 0U) |
             (worker.drained_said ? 32U : 0U));
    hash.add(worker.closed, now_);
    hash.add(worker.tasks.size() | (worker.claims << 8U));
    hash.add(worker.limit != 0 ? worker.given : 0);
  }
  for (const auto& [turn, key] : state.free_workers)
    hash.add(700 + key.slot);
  for (const StoreSide& side : state.sides) {
    hash.add((side.full ? 1U : 0U) | (side.probing ? 2U : 0U) | (side.collecting ? 4U : 0U));
    hash.add(side.probe_at, now_);
    hash.add(side.stalled.size());
    for (const StoreOp& op : side.stalled)
      hash.add(op.what.index());
  }
  hash.add(state.cancel_waiters.size());
  for (const StoreOp& op : under_way_) {
    hash.add(op.what.index());
    if (const auto* finish = std::get_if<FinishOp>(&op.what))
      hash.add((finish->id.value << 4U) | static_cast<std::uint64_t>(finish->state));
    if (const auto* claim = std::get_if<ClaimOp>(&op.what)) hash.add(claim->id.value);
    if (const auto* back = std::get_if<RequeueOp>(&op.what)) hash.add(back->id.value);
    if (const auto* promote = std::get_if<PromoteOp>(&op.what)) hash.add(promote->id.value);
  }
  for (const auto& [id, stored] : store_) {
    hash.add(id);
    hash.add(static_cast<std::uint64_t>(stored.facts.state));
    hash.add(stored.crashes | (stored.refusals != 0 ? 256U : 0U));
  }
  for (const auto& [key, body] : bodies_) {
    hash.add(800 + key.slot);
    hash.add((body.ready ? 1U : 0U) | (body.drained ? 2U : 0U) | (body.killed ? 4U : 0U) |
             (body.closed ? 8U : 0U));
    for (const auto& [id, attempt] : body.has) {
      const auto stored = store_.find(id);
      const bool current =
          stored != store_.end() && stored->second.facts.counters.attempts == attempt;
      hash.add(id * 2 + (current ? 1 : 0));
      hash.add(unsettled_.count({id, attempt}));
    }
  }
  if (menu_.late) hash.add(std::min<std::uint64_t>(sent_.size(), 3));
  return hash.value();
}

}  // namespace mtd::test
