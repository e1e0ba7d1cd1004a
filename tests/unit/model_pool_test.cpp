// The pool as a value: memory, views, limits, what copies share (nothing), and what a step costs.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "daemon/supervisor/model/memory.h"
#include "daemon/supervisor/model/pool.h"

using namespace mtd;
using namespace mtd::model;

namespace {

config::PoolSpec spec_of(std::uint32_t workers) {
  config::PoolSpec spec;
  spec.name = "unit";
  spec.workers = workers;
  spec.spawn_fingerprint = 1;
  return spec;
}

Instant at_ms(std::int64_t ms) {
  return Instant() + Duration::milliseconds(ms);
}

std::vector<SpawnAction> spawns(const std::vector<Action>& actions) {
  std::vector<SpawnAction> found;
  for (const Action& action : actions) {
    if (const auto* spawn = std::get_if<SpawnAction>(&action)) found.push_back(*spawn);
  }
  return found;
}

Pool running(std::uint32_t workers, config::PoolSpec spec) {
  spec.workers = workers;
  Pool pool(spec, 1, at_ms(0));
  for (const SpawnAction& spawn : spawns(pool.step(Tick{}, at_ms(0), 1))) {
    (void)pool.step(Spawned{spawn.key, 100}, at_ms(0), 1);
    (void)pool.step(Executed{spawn.key}, at_ms(0), 1);
  }
  return pool;
}

Exited killed(WorkerKey key) {
  Exited exit;
  exit.key = key;
  exit.wait_status = 9;
  return exit;
}

}  // namespace

TEST_CASE("incarnations go on where memory ends; no key is used twice") {
  PoolMemory memory;
  memory.want = 3;
  memory.restarts = 7;
  memory.slots[1].slot.incarnation = 41;
  memory.slots[1].slot.restarts = 5;
  memory.slots[1].slot.recycled = 2;
  memory.slots[2].slot.rest = Held{};
  Pool pool(spec_of(2), 1, at_ms(0), memory);
  const auto started = spawns(pool.step(Tick{}, at_ms(0), 1));
  REQUIRE(started.size() == 2);
  CHECK(started[0].key == WorkerKey{0, 1});
  CHECK(started[1].key == WorkerKey{1, 42});
  const PoolMemory after = pool.memory();
  CHECK(after.want == 3);
  CHECK(after.restarts == 7);
  CHECK(after.slots.at(1).slot.incarnation == 42);
  CHECK(after.slots.at(1).slot.restarts == 5);
  CHECK(rests_as<Held>(after.slots.at(2).slot));
  CHECK(pool.slot_memory(1).slot.recycled == 2);
  CHECK(pool.view(at_ms(0)).slots[2].state == WorkerState::stopped);
}

TEST_CASE("a pool that is not enabled, or was stopped, waits for start") {
  config::PoolSpec spec = spec_of(1);
  spec.enabled = false;
  Pool pool(spec, 1, at_ms(0));
  CHECK(pool.step(Tick{}, at_ms(0), 1).empty());
  CHECK(pool.is_settled());
  CHECK(pool.summary(at_ms(0)).state == PoolState::stopped);
  CHECK(spawns(pool.step(StartCommand{}, at_ms(1), 1)).size() == 1);
  PoolMemory memory;
  memory.stopped = true;
  Pool remembered(spec_of(1), 1, at_ms(0), memory);
  CHECK(remembered.step(Tick{}, at_ms(0), 1).empty());
}

TEST_CASE("nothing is spawned before the first event that is not Adopted") {
  Pool pool(spec_of(2), 1, at_ms(0));
  Adopted fact;
  fact.key = {0, 9};
  fact.revision = 1;
  fact.executed = true;
  CHECK(pool.step(fact, at_ms(0), 1).empty());
  CHECK_FALSE(pool.is_settled());
  const auto started = spawns(pool.step(Tick{}, at_ms(0), 1));
  REQUIRE(started.size() == 1);
  CHECK(started[0].key.slot == 1);
  CHECK(pool.memory().slots.at(0).slot.incarnation == 9);
  CHECK(pool.step(fact, at_ms(0), 1).empty());
  CHECK(pool.summary(at_ms(0)).stale_facts == 1);
}

TEST_CASE("a pid that is told after the process was ready is remembered, and else found again") {
  config::PoolSpec spec = spec_of(1);
  spec.ready = config::ReadyMode::notify;
  Pool pool(spec, 1, at_ms(0));
  const auto started = spawns(pool.step(Tick{}, at_ms(0), 1));
  REQUIRE(started.size() == 1);
  const WorkerKey key = started[0].key;
  (void)pool.step(NotifiedReady{key, false}, at_ms(1), 1);
  (void)pool.take_touched();
  const PoolMemory before = pool.memory();
  (void)pool.step(Spawned{key, 77}, at_ms(1), 1);
  CHECK(pool.take_touched() == std::vector<std::uint32_t>{0});
  (void)pool.step(Spawned{key, 77}, at_ms(1), 1);
  CHECK(pool.take_touched().empty());
  Pool next(spec, 1, at_ms(2), before);
  Adopted fact;
  fact.key = key;
  fact.pid = 77;
  fact.executed = fact.was_ready = true;
  (void)next.step(fact, at_ms(2), 1);
  (void)next.step(Tick{}, at_ms(2), 1);
  CHECK(next.view(at_ms(2)).slots.at(0).processes.at(0).pid == 77);
  CHECK(next.take_touched() == std::vector<std::uint32_t>{0});
}

TEST_CASE("a worker that gives itself up before its start is told is ended") {
  Pool pool(spec_of(1), 1, at_ms(0));
  const auto started = spawns(pool.step(Tick{}, at_ms(0), 1));
  REQUIRE(started.size() == 1);
  const auto actions = pool.step(NotifiedAlive{started[0].key, true}, at_ms(1), 1);
  CHECK(std::any_of(actions.begin(), actions.end(), [](const Action& action) {
    const auto* signal = std::get_if<SignalAction>(&action);
    return signal != nullptr && signal->signal == SIGABRT;
  }));
}

TEST_CASE("adopted by fingerprint: another revision number of the same command is not outdated") {
  Pool pool(spec_of(1), 12, at_ms(0));
  Adopted fact;
  fact.key = {0, 3};
  fact.revision = 4;
  fact.fingerprint = 1;
  fact.executed = true;
  (void)pool.step(fact, at_ms(0), 1);
  (void)pool.step(Tick{}, at_ms(0), 1);
  CHECK(pool.summary(at_ms(0)).outdated == 0);
}

TEST_CASE("task limits lie in [N × (1 − jitter), N] and are never 0") {
  config::PoolSpec spec = spec_of(500);
  spec.recycle.max_tasks = 100;
  Pool pool(spec, 1, at_ms(0));
  std::set<std::uint64_t> drawn;
  for (const SpawnAction& spawn : spawns(pool.step(Tick{}, at_ms(0), 42))) {
    CHECK(spawn.task_limit >= 90);
    CHECK(spawn.task_limit <= 100);
    drawn.insert(spawn.task_limit);
  }
  CHECK(drawn.size() >= 10);
  spec.recycle.max_tasks = 1;
  spec.recycle.jitter = 1;
  Pool least(spec, 1, at_ms(0));
  for (const SpawnAction& spawn : spawns(least.step(Tick{}, at_ms(0), 42))) {
    CHECK(spawn.task_limit == 1);
  }
}

TEST_CASE("recycling takes at most `concurrency` slots at a time") {
  config::PoolSpec spec = spec_of(40);
  spec.recycle.max_tasks = 10;
  Pool pool = running(40, spec);
  std::size_t begun = 0;
  for (std::uint32_t slot = 0; slot < 40; ++slot) {
    begun += spawns(pool.step(TasksDone{{slot, 1}, 1000}, at_ms(1), 1)).size();
  }
  CHECK(begun == 4);
}

TEST_CASE("eight exits are remembered for each slot, the last one first") {
  config::PoolSpec spec = spec_of(1);
  spec.backoff.initial = Duration();
  spec.crash_limit.count = 1000;
  Pool pool = running(1, spec);
  for (std::uint64_t incarnation = 1; incarnation <= 20; ++incarnation) {
    const WorkerKey key{0, incarnation};
    (void)pool.step(Spawned{key, static_cast<int>(incarnation)}, at_ms(1), 1);
    (void)pool.step(Executed{key}, at_ms(1), 1);
    (void)pool.step(killed(key), at_ms(1), 1);
    (void)pool.step(TreeEmpty{key}, at_ms(1), 1);
  }
  const auto view = pool.slot_view(0);
  REQUIRE(view);
  REQUIRE(view->exits.size() == 8);
  CHECK(view->exits[0].incarnation == 20);
  CHECK(view->exits[7].incarnation == 13);
  CHECK(view->restarts == 20);
  CHECK_FALSE(pool.slot_view(99));
}

TEST_CASE("left-overs that may live are bounded") {
  config::PoolSpec spec = spec_of(1);
  spec.backoff.initial = Duration();
  spec.crash_limit.count = 1000;
  spec.orphans = config::OrphanPolicy::keep;
  Pool pool = running(1, spec);
  std::size_t kills = 0;
  for (std::uint64_t incarnation = 1; incarnation <= 20; ++incarnation) {
    const WorkerKey key{0, incarnation};
    (void)pool.step(Executed{key}, at_ms(1), 1);
    for (const Action& action : pool.step(killed(key), at_ms(1), 1)) {
      const auto* kill = std::get_if<KillTreeAction>(&action);
      if (kill == nullptr) continue;
      ++kills;
      (void)pool.step(TreeEmpty{kill->key}, at_ms(1), 1);
    }
  }
  CHECK(kills == 12);
}

TEST_CASE("a copy goes its own way") {
  Pool pool = running(2, spec_of(2));
  Pool copy = pool;
  (void)copy.step(StopCommand{}, at_ms(5), 1);
  CHECK(copy.summary(at_ms(5)).state == PoolState::stopping);
  CHECK(pool.summary(at_ms(5)).state == PoolState::running);
}

TEST_CASE("a slot that does not exist is no error") {
  Pool pool = running(1, spec_of(1));
  const std::vector<std::uint32_t> far{4'000'000'000U};
  CHECK(pool.step(StopCommand{far, StopManner::now}, at_ms(1), 1).empty());
  CHECK(pool.step(StartCommand{far}, at_ms(1), 1).empty());
  CHECK(pool.step(RestartCommand{far}, at_ms(1), 1).empty());
  CHECK(pool.step(NotifiedReady{{4'000'000'000U, 1}}, at_ms(1), 1).empty());
  CHECK(pool.summary(at_ms(1)).stale_facts == 1);
}

TEST_CASE("infinite and huge durations never overflow") {
  config::PoolSpec spec = spec_of(1);
  spec.stop.timeout = Duration::infinite();
  spec.start_timeout = Duration::infinite();
  spec.backoff.initial = Duration::infinite();
  spec.backoff.max = Duration::infinite();
  spec.backoff.jitter = 1;
  spec.min_uptime = Duration::infinite();
  spec.backoff.reset_after = Duration::infinite();
  Pool pool = running(1, spec);
  const Instant late = Instant::at_ns(INT64_MAX - 5);
  (void)pool.step(killed({0, 1}), late, ~std::uint64_t{0});
  CHECK_FALSE(pool.next_deadline() <= late);
  (void)pool.step(StopCommand{}, late, 1);
  (void)pool.step(TreeEmpty{{0, 1}}, late, 1);
  CHECK(pool.is_empty());
}

TEST_CASE("stop.timeout 0 kills at once") {
  config::PoolSpec spec = spec_of(1);
  spec.stop.timeout = Duration();
  Pool pool = running(1, spec);
  bool signalled = false;
  bool killed_tree = false;
  for (const Action& action : pool.step(StopCommand{}, at_ms(1), 1)) {
    signalled = signalled || std::holds_alternative<SignalAction>(action);
    killed_tree = killed_tree || std::holds_alternative<KillTreeAction>(action);
  }
  CHECK_FALSE(signalled);
  CHECK(killed_tree);
}
