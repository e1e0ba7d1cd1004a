// What the queue promises, one story each: order, room, retries, time-outs, clocks, groups, and
// what the vocabulary says. That it holds in every order of events is the explorer's business.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

#include "daemon/broker/model/queue.h"
#include "daemon/broker/model/retry.h"
#include "daemon/broker/model/vocabulary.h"

using namespace mtd;
using namespace mtd::task;

namespace {

QueueSpec spec_of() {
  QueueSpec spec;
  spec.pool = "unit";
  return spec;
}

// A queue with a store that commits whatever it is asked, at once.
struct Bench {
  explicit Bench(QueueSpec spec = spec_of(), Recovered recovered = {})
      : queue(std::move(spec), std::move(recovered), now()) {
    step(AllAttached{});
  }

  [[nodiscard]] Now now() const { return Now{at, WallTime{at.count_ns() + wall_offset}}; }
  void wait(Duration time) {
    at = at + time;
    step(Tick{});
  }

  void step(Event event) {
    for (Action& action : queue.step(std::move(event), now(), 1)) {
      if (auto* submit = std::get_if<Submit>(&action)) {
        under_way.push_back(submit->op);
        ops.push_back(std::move(submit->op));
        continue;
      }
      if (auto* send = std::get_if<SendTask>(&action)) sent.push_back(*send);
      actions.push_back(std::move(action));
    }
    while (!committing && !under_way.empty()) {
      committing = true;
      StoreDone done;
      done.op = std::move(under_way.front());
      under_way.pop_front();
      const bool wants_room = std::holds_alternative<PutOp>(done.op.what) ||
                              std::holds_alternative<ProbeOp>(done.op.what);
      if (tight && wants_room) done.status = StoreStatus::full;
      if (const auto* put = std::get_if<PutOp>(&done.op.what)) {
        for (const NewTask& task : put->tasks)
          done.puts.push_back({task.facts.id, Existed::no});
      }
      committing = false;
      step(std::move(done));
    }
  }
  void put(std::uint64_t id, PutTask task = {}, std::optional<Duration> block = {}) {
    task.id.value = id;
    Put request;
    request.ticket.value = id;
    request.tasks = {task};
    request.block = block;
    step(std::move(request));
  }
  WorkerKey worker(std::uint32_t slot, std::uint32_t credit = 1, std::uint64_t limit = 0) {
    const WorkerKey key{slot, ++incarnations[slot]};
    step(WorkerAttached{key, limit, 0});
    step(WorkerReady{key, credit});
    return key;
  }
  void done(const SendTask& task) {
    TaskDone fact;
    fact.worker = task.worker;
    fact.id = task.id;
    fact.attempt = task.attempt;
    step(std::move(fact));
  }
  void failed(const SendTask& task, std::optional<Duration> delay = {}) {
    TaskFailed fact;
    fact.worker = task.worker;
    fact.id = task.id;
    fact.attempt = task.attempt;
    fact.delay = delay;
    step(std::move(fact));
  }
  template <class T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> found;
    for (const Action& action : actions) {
      if (const auto* one = std::get_if<T>(&action)) found.push_back(*one);
    }
    return found;
  }

  Instant at = Instant::at_ns(1'000'000'000);
  std::int64_t wall_offset = 1'000'000'000'000;
  Queue queue;
  std::deque<StoreOp> under_way;
  std::vector<StoreOp> ops;
  std::vector<Action> actions;
  std::vector<SendTask> sent;
  std::map<std::uint32_t, std::uint64_t> incarnations;
  bool committing = false;
  bool tight = false;  // the store has no room for more tasks
};

}  // namespace

TEST_CASE("lower priorities run first, equal ones in the order of their puts") {
  Bench bench;
  PutTask urgent;
  urgent.priority = -5;
  bench.put(1);
  bench.put(2);
  bench.put(3, urgent);
  bench.worker(0);
  for (std::size_t i = 0; i < 3; ++i)
    bench.done(bench.sent.at(i));
  CHECK(bench.sent[0].id.value == 3);
  CHECK(bench.sent[1].id.value == 1);
  CHECK(bench.sent[2].id.value == 2);
  CHECK(bench.all<QueueDrained>().size() == 1);
}

TEST_CASE("a full queue refuses, or lets puts wait for their turn and their time") {
  QueueSpec spec = spec_of();
  spec.max_queue = 1;
  Bench bench(spec);
  bench.put(1);
  bench.put(2);
  REQUIRE(bench.all<Refused>().size() == 1);
  CHECK(bench.all<Refused>()[0].why == Refusal::queue_full);
  bench.put(3, {}, Duration::seconds(10));
  bench.put(4, {}, Duration::seconds(2));
  bench.put(5, {}, Duration::infinite());
  CHECK(bench.queue.view().blocked_puts == 3);
  bench.wait(Duration::seconds(2));
  CHECK(bench.all<Refused>().size() == 2);
  CHECK(bench.all<Refused>()[1].ticket.value == 4);
  bench.step(Forget{Ticket{5}});
  CHECK(bench.queue.view().blocked_puts == 1);
  bench.worker(0);
  bench.done(bench.sent.at(0));
  CHECK(bench.sent.at(1).id.value == 3);
  bench.step(Close{});
  bench.put(6);
  CHECK(bench.all<Refused>().back().why == Refusal::closed);
  bench.step(Resume{});
  bench.put(7);
  CHECK(bench.all<PutAccepted>().back().ticket.value == 7);
}

TEST_CASE("tasks are worked off though their store has no room for more") {
  Bench bench;
  for (std::uint64_t id = 1; id <= 3; ++id)
    bench.put(id);
  bench.tight = true;
  bench.put(4);
  CHECK(bench.all<Refused>().back().why == Refusal::store_full);
  bench.worker(0);
  for (std::size_t i = 0; i < 3; ++i)
    bench.done(bench.sent.at(i));
  CHECK(bench.queue.view().done == 3);
  bench.wait(Duration::seconds(10));
  bench.put(5);
  CHECK(bench.all<Refused>().back().ticket.value == 5);
  bench.tight = false;
  bench.wait(Duration::seconds(10));
  bench.put(6);
  CHECK(bench.all<PutAccepted>().back().ticket.value == 6);
}

TEST_CASE("bytes are bounded as well, and a batch that never fits is refused at once") {
  QueueSpec spec = spec_of();
  spec.max_queue_bytes = 100;
  spec.on_full = OnFull::block;
  Bench bench(spec);
  PutTask large;
  large.body = std::make_shared<TaskBody>(TaskBody{"", "", "", std::string(60, 'x')});
  bench.put(1, large);
  bench.put(2, large);
  CHECK(bench.queue.view().blocked_puts == 1);
  large.body = std::make_shared<TaskBody>(TaskBody{"", "", "", std::string(101, 'x')});
  bench.put(3, large);
  CHECK(bench.all<Refused>().back().why == Refusal::too_large);
  for (std::uint64_t id = 4; id < 4 + kMaxBlockedPuts; ++id)
    bench.put(id);
  CHECK(bench.all<Refused>().back().why == Refusal::too_many_waiting);
}

TEST_CASE("failures are repeated after growing pauses, then the task is dead") {
  Bench bench;
  bench.worker(0);
  bench.put(1);
  bench.failed(bench.sent.at(0));
  REQUIRE(bench.queue.find(TaskId{1})->state == TaskState::scheduled);
  const Duration first = bench.queue.find(TaskId{1})->due.since(bench.at);
  CHECK(first >= Duration::milliseconds(2500));
  CHECK(first <= Duration::seconds(5));
  bench.wait(Duration::seconds(5));
  bench.failed(bench.sent.at(1), Duration::seconds(60));  // the worker knows better
  CHECK(bench.queue.find(TaskId{1})->due.since(bench.at) == Duration::seconds(60));
  bench.wait(Duration::seconds(60));
  bench.failed(bench.sent.at(2));
  REQUIRE(bench.all<Settled>().size() == 1);
  CHECK(bench.all<Settled>()[0].state == TaskState::dead);
  CHECK(bench.all<Settled>()[0].reason == Reason::failed);
  CHECK_FALSE(bench.queue.find(TaskId{1}));
}

TEST_CASE("the first crash is repeated at once, want of memory is not; the third one is the last") {
  Bench bench;
  bench.put(1);
  const auto crash = [&](DeathCause cause) {
    const WorkerKey key = bench.worker(0);
    bench.step(WorkerLost{key, Death{cause, 9}});
  };
  crash(DeathCause::signal);
  CHECK(bench.queue.find(TaskId{1})->state == TaskState::waiting);
  crash(DeathCause::oom);
  REQUIRE(bench.queue.find(TaskId{1})->state == TaskState::scheduled);
  bench.wait(Duration::seconds(5));
  crash(DeathCause::signal);
  CHECK(bench.all<Settled>().at(0).reason == Reason::crashed);
  CHECK(bench.all<Settled>().at(0).death == Death{DeathCause::signal, 9});
}

TEST_CASE("mtd's own stops cost a task neither retries nor its place") {
  Bench bench;
  for (int i = 0; i < 10; ++i) {
    if (i == 0) bench.put(1);
    if (i == 1) bench.put(2);
    const WorkerKey key = bench.worker(0);
    CHECK(bench.sent.back().id.value == 1);
    bench.step(WorkerLost{key, Death{DeathCause::stopped, 0}});
  }
  CHECK(bench.queue.find(TaskId{1})->counters.recoveries == 10);
  CHECK(bench.queue.find(TaskId{1})->counters.crashes == 0);
}

TEST_CASE(
    "a task that takes too long is asked to stop, then its worker is killed, others are not "
    "blamed") {
  QueueSpec spec = spec_of();
  spec.timeout = Duration::seconds(10);
  Bench bench(spec);
  const WorkerKey key = bench.worker(0, 2);
  bench.put(1);
  bench.wait(Duration::seconds(8));
  bench.put(2);
  CHECK(bench.sent.at(0).timeout == Duration::seconds(10));
  bench.wait(Duration::seconds(2));
  REQUIRE(bench.all<SendCancel>().size() == 1);
  CHECK(bench.all<SendCancel>()[0].cause == CancelCause::timeout);
  bench.wait(Duration::seconds(4));
  CHECK(bench.all<KillWorker>().empty());
  bench.wait(Duration::seconds(1));
  REQUIRE(bench.all<KillWorker>().size() == 1);
  CHECK(bench.all<KillWorker>()[0].cause == KillCause::task_timeout);
  bench.step(WorkerLost{key, Death{DeathCause::signal, 9}});
  CHECK(bench.queue.find(TaskId{1})->counters.failures == 1);
  CHECK(bench.queue.find(TaskId{1})->counters.crashes == 0);
  CHECK(bench.queue.find(TaskId{2})->counters.failures == 0);
  CHECK(bench.queue.find(TaskId{2})->counters.recoveries == 1);
}

TEST_CASE("where a task is not to be done twice, its claim is said to be the only one") {
  for (const OnLost on_lost : {OnLost::retry, OnLost::dead}) {
    QueueSpec spec = spec_of();
    spec.on_lost = on_lost;
    Bench bench(spec);
    (void)bench.worker(0);
    bench.put(1);
    const auto is_claim = [](const StoreOp& op) {
      return std::holds_alternative<ClaimOp>(op.what);
    };
    const auto claim = std::find_if(bench.ops.begin(), bench.ops.end(), is_claim);
    REQUIRE(claim != bench.ops.end());
    CHECK(std::get<ClaimOp>(claim->what).only_one == (on_lost == OnLost::dead));
  }
}

TEST_CASE("a worker may ask for more time") {
  QueueSpec spec = spec_of();
  spec.timeout = Duration::seconds(10);
  Bench bench(spec);
  const WorkerKey key = bench.worker(0);
  bench.put(1);
  bench.wait(Duration::seconds(9));
  bench.step(TaskExtended{key, TaskId{1}, 0, Duration::seconds(60)});
  bench.wait(Duration::seconds(59));
  CHECK(bench.all<SendCancel>().empty());
  bench.wait(Duration::seconds(1));
  CHECK(bench.all<SendCancel>().size() == 1);
}

TEST_CASE("exactly so many tasks in a worker's life, and it is said when the last one is given") {
  Bench bench;
  const WorkerKey key = bench.worker(0, 1, 2);
  for (std::uint64_t id = 1; id <= 3; ++id)
    bench.put(id);
  CHECK(bench.all<WorkerSpent>().empty());
  bench.done(bench.sent.at(0));
  CHECK(bench.all<WorkerSpent>().size() == 1);
  bench.done(bench.sent.at(1));
  CHECK(bench.sent.size() == 2);
  bench.step(WorkerDrains{key, Duration::seconds(1)});
  CHECK(bench.all<WorkerDrained>().size() == 1);
  bench.worker(1);
  CHECK(bench.sent.at(2).id.value == 3);
}

TEST_CASE("appointments follow the wall clock, pauses do not") {
  Bench bench;
  bench.worker(0);
  PutTask appointment, pause;
  appointment.at = bench.now().wall + Duration::seconds(3600);
  pause.delay = Duration::seconds(3600);
  bench.put(1, appointment);
  bench.put(2, pause);
  CHECK(bench.queue.view().scheduled == 2);
  bench.wall_offset += 3'600'000'000'000;  // somebody sets the clock
  bench.step(Tick{});
  CHECK(bench.queue.view().scheduled == 1);
  REQUIRE(bench.sent.size() == 1);
  CHECK(bench.sent[0].id.value == 1);
  bench.done(bench.sent[0]);
  bench.wait(Duration::seconds(3600));
  CHECK(bench.sent.at(1).id.value == 2);
}

TEST_CASE("what is not begun in time expires, what runs does not") {
  Bench bench;
  PutTask soon;
  soon.expires = Duration::seconds(10);
  bench.put(1, soon);
  bench.put(2, soon);
  bench.worker(0);
  bench.wait(Duration::seconds(10));
  REQUIRE(bench.all<Settled>().size() == 1);
  CHECK(bench.all<Settled>()[0].id.value == 2);
  CHECK(bench.all<Settled>()[0].state == TaskState::expired);
  bench.done(bench.sent.at(0));
  CHECK(bench.all<Settled>()[1].state == TaskState::done);
}

TEST_CASE("a group is cancelled as a whole and told to be over once") {
  Bench bench;
  const WorkerKey key = bench.worker(0);
  PutTask member;
  member.group = "g";
  for (std::uint64_t id = 1; id <= 3; ++id)
    bench.put(id, member);
  CHECK(bench.queue.live_in_group("g") == 3);
  bench.put(4);
  CHECK(bench.queue.ids("g") == std::vector<TaskId>{{1}, {2}, {3}});
  CHECK(bench.queue.ids("") == std::vector<TaskId>{{1}, {2}, {3}, {4}});
  CHECK(bench.queue.ids("other").empty());
  Cancel cancel;
  cancel.ticket.value = 77;
  cancel.group = "g";
  cancel.ids = {TaskId{99}};
  bench.step(cancel);
  REQUIRE(bench.all<CancelAnswered>().size() == 1);
  const CancelAnswered answer = bench.all<CancelAnswered>()[0];
  CHECK(answer.cancelled == 2);
  CHECK(answer.asked == 1);
  CHECK(answer.unknown == 1);
  REQUIRE(bench.all<SendCancel>().size() == 1);
  CHECK(bench.all<GroupSettled>().empty());
  bench.failed(bench.sent.at(0));
  CHECK(bench.all<Settled>().back().state == TaskState::cancelled);
  CHECK(bench.all<Settled>().back().reason == Reason::user);
  CHECK(bench.all<GroupSettled>().size() == 1);
  CHECK(bench.queue.holds(key, TaskId{1}, 1) == false);
}

TEST_CASE("a cancelled task that is done all the same is done; a hard cancel kills at once") {
  Bench bench;
  bench.worker(0);
  bench.put(1);
  Cancel cancel;
  cancel.ids = {TaskId{1}};
  bench.step(cancel);
  bench.done(bench.sent.at(0));
  CHECK(bench.all<Settled>().at(0).state == TaskState::done);
  bench.put(2);
  cancel.ids = {TaskId{2}};
  cancel.now = true;
  cancel.reason = Reason::detached;
  bench.step(cancel);
  REQUIRE(bench.all<KillWorker>().size() == 1);
  bench.step(WorkerLost{bench.sent.at(1).worker, Death{DeathCause::signal, 9}});
  CHECK(bench.all<Settled>().at(1).state == TaskState::cancelled);
  CHECK(bench.all<Settled>().at(1).reason == Reason::detached);
}

TEST_CASE("a worker that closes its socket and lives on is killed, and its task has crashed") {
  Bench bench;
  const WorkerKey key = bench.worker(0);
  bench.put(1);
  bench.step(WorkerClosed{key});
  bench.step(WorkerClosed{key});
  CHECK(bench.queue.next_deadline() == bench.at + kCloseGrace);
  bench.wait(kCloseGrace);
  REQUIRE(bench.all<KillWorker>().size() == 1);
  CHECK(bench.all<KillWorker>()[0].cause == KillCause::protocol);
  CHECK(bench.queue.next_deadline().is_never());
  bench.step(WorkerLost{key, Death{DeathCause::signal, 9}});
  const auto& back = std::get<RequeueOp>(bench.ops.back().what);
  CHECK(back.counters.crashes == 1);
  CHECK(back.record.death.cause == DeathCause::protocol);
  CHECK(bench.sent.size() == 1);

  // Its own end comes first: that is what counts. And one that was to be stopped may take its time.
  const WorkerKey next = bench.worker(0);
  REQUIRE(bench.sent.size() == 2);
  bench.step(WorkerClosed{next});
  bench.step(WorkerLost{next, Death{DeathCause::exit, 3}});
  CHECK(std::get<RequeueOp>(bench.ops.back().what).record.death == Death{DeathCause::exit, 3});
  const WorkerKey idle = bench.worker(1);
  bench.step(WorkerDrains{idle, std::nullopt});
  bench.step(WorkerClosed{idle});
  bench.wait(kCloseGrace);
  CHECK(bench.all<KillWorker>().size() == 1);
}

TEST_CASE("another broker goes on with what runs, and takes back what nobody has any more") {
  Recovered recovered;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    TaskFacts facts;
    facts.id.value = facts.order = id;
    if (id < 3) {
      facts.state = TaskState::running;
      facts.counters.attempts = 1;
      facts.worker = WorkerKey{static_cast<std::uint32_t>(id), 1};
    }
    recovered.tasks.push_back(facts);
  }
  Queue queue(spec_of(), recovered, Now{Instant::at_ns(5), WallTime{5}});
  const auto step = [&](Event event) {
    return queue.step(std::move(event), Now{Instant::at_ns(6), WallTime{6}}, 1);
  };
  CHECK(step(WorkerAttached{{1, 1}, 0, 1}).empty());
  const auto ready = step(WorkerReady{{1, 1}, 1});
  REQUIRE(std::holds_alternative<SendTask>(ready.at(0)));
  CHECK(std::get<SendTask>(ready[0]).again);
  const auto rest = step(AllAttached{});
  REQUIRE(rest.size() == 1);
  const auto& back = std::get<RequeueOp>(std::get<Submit>(rest[0]).op.what);
  CHECK(back.id.value == 2);
  CHECK(back.counters.recoveries == 1);
  CHECK(back.order == 2);
}

TEST_CASE("what was to be cancelled, and lost its attempt with the power, needs no worker to end") {
  Recovered recovered;
  for (const TaskState state : {TaskState::waiting, TaskState::scheduled}) {
    TaskFacts facts;
    facts.id.value = recovered.tasks.size() + 1;
    facts.state = state;
    facts.due = WallTime::never();
    facts.cancel = Reason::user;
    recovered.tasks.push_back(facts);
  }
  const Bench bench(spec_of(), std::move(recovered));
  CHECK(bench.queue.view().cancelled == 2);
  CHECK_FALSE(bench.queue.find({1}));
  CHECK_FALSE(bench.queue.find({2}));
}

TEST_CASE("final tasks are forgotten in time, and not looked for while there are none") {
  QueueSpec spec = spec_of();
  spec.result_ttl = Duration::seconds(100);
  Bench bench(spec);
  CHECK(bench.queue.next_deadline().is_never());
  bench.worker(0);
  bench.put(1);
  bench.done(bench.sent.at(0));
  CHECK(bench.queue.next_deadline() == bench.at + Duration::seconds(100));
  bench.wait(Duration::seconds(100));
  REQUIRE(std::holds_alternative<CollectOp>(bench.ops.back().what));
  CHECK(bench.queue.next_deadline().is_never());
}

TEST_CASE("pauses between attempts grow, are bounded, and are never alike by design") {
  const QueueSpec spec = spec_of();
  for (std::uint32_t failures = 1; failures < 40; ++failures) {
    Entropy entropy(failures);
    const Duration whole =
        std::min(Duration::seconds(600),
                 Duration::seconds(5).scaled_by(std::min(1e9, std::exp2(failures - 1.0))));
    const Duration pause = failure_delay(spec, failures, entropy);
    CHECK(pause <= whole);
    CHECK(pause >= whole.scaled_by(0.49));
  }
  Entropy entropy(1);
  CHECK(crash_delay(spec, 1, false, entropy).is_zero());
  CHECK(crash_delay(spec, 1, true, entropy) >= Duration::milliseconds(490));
}

TEST_CASE("every word stands in its place in its table, and names are found again") {
  const auto in_order = [](auto words) {
    std::size_t at = 0;
    for (const auto& word : words) {
      CHECK(static_cast<std::size_t>(word.value) == at++);
      CHECK_FALSE(word.summary.empty());
    }
    return at;
  };
  CHECK(in_order(task_states()) == 7);
  CHECK(in_order(reasons()) == 10);
  CHECK(in_order(attempt_outcomes()) == 7);
  CHECK(in_order(death_causes()) == 6);
  CHECK(in_order(durabilities()) == 3);
  CHECK(in_order(refusals()) == 8);
  CHECK(task_state_of("dead") == TaskState::dead);
  CHECK_FALSE(task_state_of("Dead"));
  CHECK(durability_of("memory") == Durability::memory);
  CHECK(describe(Death{DeathCause::signal, 9}) == "signal 9");
  CHECK(describe(Death{DeathCause::oom, 9}) == "oom");
}
