// The conformance suite of task stores: whatever a store is made of, it has to say the same; then
// what is SQLite's alone: the file outlives the process, the power, a full disk and a failed fsync.
#include <doctest/doctest.h>
#include <poll.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <sstream>
#include <thread>

#include "daemon/broker/store/memory_store.h"
#include "daemon/broker/store/sqlite_store.h"
#include "daemon/broker/store/store_thread.h"
#include "daemon/sys/clock.h"
#include "tests/support/fault_disk.h"
#include "tests/support/refused_calls.h"
#include "tests/support/store_samples.h"
#include "tests/support/temporary_directory.h"

using namespace mtd;
using namespace mtd::task;
using namespace mtd::test;

namespace {

class Directory : public TemporaryDirectory {
 public:
  [[nodiscard]] SqliteOptions options() const {
    SqliteOptions options;
    options.path = path + "/tasks.db";
    options.ballast = 64 * 1024;
    options.boot_id = "boot";
    options.time = "20261127T101112";
    return options;
  }
};

SqliteOptions on_fault_disk() {
  SqliteOptions options;
  options.path = "tasks.db";
  options.ballast = 0;
  options.boot_id = "boot";
  options.vfs = FaultDisk::kName;
  return options;
}

std::unique_ptr<SqliteStore> opened(const SqliteOptions& options) {
  auto store = SqliteStore::open(options);
  if (!store) MESSAGE(store.error().message);
  REQUIRE(store);
  REQUIRE((*store)->load());
  return std::move(*store);
}

NewTask task_of(std::uint64_t id, const std::string& uid = {}, std::size_t bytes = 3) {
  NewTask task;
  task.facts.id.value = id;
  task.facts.order = id;
  task.body = std::make_shared<TaskBody>(TaskBody{uid, "", "[]", std::string(bytes, 'b')});
  task.facts.bytes = task.body->bytes();
  return task;
}

StoreOp put_of(std::vector<NewTask> tasks, Durability durability = Durability::fsync) {
  PutOp op;
  op.pool = "pool";
  op.tasks = std::move(tasks);
  StoreOp whole;
  whole.durability = durability;
  whole.what = std::move(op);
  return whole;
}

StoreOp claim_of(std::uint64_t id, std::uint32_t attempt = 1) {
  StoreOp whole;
  whole.what = ClaimOp{TaskId{id}, attempt, WorkerKey{1, 7}, WallTime{5}};
  return whole;
}

StoreOp finish_of(std::uint64_t id, std::uint32_t attempt, TaskState state, std::size_t bytes = 2) {
  FinishOp op;
  op.id.value = id;
  op.attempt = attempt;
  op.state = state;
  op.counters.attempts = attempt;
  op.finished.ns = 10;
  op.answer = std::make_shared<Answer>(Answer{std::string(bytes, '1'), "", "", ""});
  StoreOp whole;
  whole.what = std::move(op);
  return whole;
}

StoreOp probe() {
  StoreOp whole;
  whole.what = ProbeOp{};
  return whole;
}

StoreDone one(TaskStore& store, StoreOp op) {
  std::vector<StoreOp> batch;
  batch.push_back(std::move(op));
  auto done = store.commit(std::move(batch));
  REQUIRE(done.size() == 1);
  return std::move(done[0]);
}

// The first line in which two dumps differ; empty: they are equal.
std::string difference(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  std::string one, other;
  for (;;) {
    const bool more = static_cast<bool>(std::getline(left, one));
    const bool also = static_cast<bool>(std::getline(right, other));
    if (!more && !also) return {};
    if (more != also || one != other) return one + "\n" + other;
  }
}

// Every store there is.
void for_each_store(const std::function<void(TaskStore&)>& test) {
  SUBCASE("memory") {
    MemoryStore store(64ULL << 20U);
    test(store);
  }
  SUBCASE("sqlite") {
    const Directory directory;
    const auto store = opened(directory.options());
    test(*store);
  }
}

}  // namespace

TEST_CASE("a task is put, claimed and finished once") {
  for_each_store([](TaskStore& store) {
    const StoreDone put = one(store, put_of({task_of(1), task_of(2)}));
    CHECK(put.status == StoreStatus::committed);
    CHECK(put.puts == std::vector<PutOutcome>{{TaskId{1}, Existed::no}, {TaskId{2}, Existed::no}});
    const StoreDone claim = one(store, claim_of(1));
    CHECK(claim.status == StoreStatus::committed);
    REQUIRE(claim.body);
    CHECK(claim.body->args == "[]");
    CHECK(one(store, claim_of(1)).status == StoreStatus::missing);
    CHECK(one(store, claim_of(1, 2)).status == StoreStatus::missing);  // it runs
    CHECK(one(store, finish_of(1, 2, TaskState::done)).status == StoreStatus::missing);
    CHECK(one(store, finish_of(1, 1, TaskState::done)).status == StoreStatus::committed);
    CHECK(one(store, finish_of(1, 1, TaskState::dead)).status == StoreStatus::missing);
    FindTask which;
    which.id.value = 1;
    which.with_answer = true;
    const StoreReply found = store.answer(which);
    REQUIRE(found.tasks.size() == 1);
    CHECK(found.tasks[0].row.facts.state == TaskState::done);
    REQUIRE(found.tasks[0].answer);
    CHECK(found.tasks[0].answer->result == "11");
  });
}

TEST_CASE("a uid names one task, a unique key one that is not final") {
  for_each_store([](TaskStore& store) {
    CHECK(one(store, put_of({task_of(1, "a")})).puts[0].existed == Existed::no);
    const StoreDone again = one(store, put_of({task_of(2, "a"), task_of(3)}));
    CHECK(again.puts ==
          std::vector<PutOutcome>{{TaskId{1}, Existed::by_uid}, {TaskId{3}, Existed::no}});
    NewTask keyed = task_of(4);
    keyed.facts.unique = "key";
    NewTask second = keyed;
    second.facts.id.value = 5;
    const StoreDone both = one(store, put_of({keyed, second}));
    CHECK(both.puts ==
          std::vector<PutOutcome>{{TaskId{4}, Existed::no}, {TaskId{4}, Existed::by_unique}});
    CHECK(one(store, finish_of(4, 0, TaskState::dead)).status == StoreStatus::committed);
    CHECK(one(store, put_of({second})).puts[0].existed == Existed::no);
    ReviveOp revive;
    revive.id.value = 4;
    revive.pool = "pool";
    StoreOp op;
    op.what = revive;
    CHECK(one(store, op).status == StoreStatus::duplicate);
    CHECK(one(store, finish_of(5, 0, TaskState::cancelled)).status == StoreStatus::committed);
    const StoreDone revived = one(store, op);
    CHECK(revived.status == StoreStatus::committed);
    REQUIRE(revived.facts);
    CHECK(revived.facts->state == TaskState::waiting);
    CHECK(revived.facts->unique == "key");
  });
}

TEST_CASE("every attempt of a task that was done at last is remembered, the newest ten") {
  for_each_store([](TaskStore& store) {
    constexpr std::uint32_t kAttempts = kHistoryDepth + 2;
    const auto record_of = [](std::uint32_t attempt, AttemptOutcome outcome) {
      const auto at = static_cast<std::int64_t>(100 * attempt);
      return AttemptRecord{attempt,           {attempt, 5}, WallTime{at},
                           WallTime{at + 50}, outcome,      Death()};
    };
    (void)one(store, put_of({task_of(1)}));
    std::vector<AttemptRecord> expected;
    for (std::uint32_t attempt = 1; attempt < kAttempts; ++attempt) {
      RequeueOp requeue;
      requeue.id.value = 1;
      requeue.attempt = requeue.counters.attempts = attempt;
      requeue.record = record_of(attempt, AttemptOutcome::failed);
      expected.push_back(requeue.record);
      StoreOp op;
      op.what = requeue;
      op.claimed_apart = true;
      REQUIRE(one(store, op).status == StoreStatus::committed);
    }
    StoreOp op = finish_of(1, kAttempts, TaskState::done);
    op.claimed_apart = true;
    auto& finish = std::get<FinishOp>(op.what);
    finish.record = record_of(kAttempts, AttemptOutcome::done);
    finish.finished = finish.record->ended;
    expected.push_back(*finish.record);
    REQUIRE(one(store, op).status == StoreStatus::committed);
    expected.erase(expected.begin(), expected.end() - kHistoryDepth);
    FindTask which;
    which.id.value = 1;
    which.with_history = true;
    CHECK(store.answer(which).tasks.at(0).history == expected);
  });
}

TEST_CASE("what has been kept long enough goes, oldest first, and no more than asked") {
  for_each_store([](TaskStore& store) {
    for (std::uint64_t id = 1; id <= 6; ++id) {
      (void)one(store, put_of({task_of(id, "", id == 2 ? 5000 : 3)}));
      StoreOp finish =
          finish_of(id, 0, id == 6 ? TaskState::dead : TaskState::done, id == 3 ? 5000 : 2);
      std::get<FinishOp>(finish.what).finished.ns = static_cast<std::int64_t>(100 * id);
      (void)one(store, finish);
    }
    CollectOp collect;
    collect.pool = "pool";
    collect.done_before.ns = 401;
    collect.dead_before.ns = 0;
    collect.limit = 3;
    StoreOp op;
    op.what = collect;
    StoreDone done = one(store, op);
    CHECK(done.removed == 3);
    CHECK(done.oldest_done.ns == 400);
    CHECK(done.oldest_dead.ns == 600);
    done = one(store, op);
    CHECK(done.removed == 1);
    CHECK(done.oldest_done.ns == 500);
    ListTasks all;
    CHECK(store.answer(all).tasks.size() == 2);
    CHECK(store.load()->last_id.value == 6);
  });
}

TEST_CASE("who removes a task is told of the file that its result stands in") {
  for_each_store([](TaskStore& store) {
    const auto finished = [&](std::uint64_t id, std::size_t bytes) {
      (void)one(store, put_of({task_of(id)}));
      StoreOp finish = finish_of(id, 0, TaskState::done);
      Answer answer;
      answer.result = std::string(bytes, '1');  // more than a few stand in a row of their own
      answer.file = std::to_string(id) + ".1";
      std::get<FinishOp>(finish.what).answer = std::make_shared<Answer>(answer);
      CHECK(one(store, finish).status == StoreStatus::committed);
    };
    for (std::uint64_t id = 1; id <= 6; ++id)
      finished(id, id % 2 == 0 ? 5000 : 2);
    (void)one(store, put_of({task_of(7)}));
    FindTask find;
    find.id.value = 2;
    find.with_answer = true;
    CHECK(store.answer(find).tasks.at(0).answer->file == "2.1");
    using Files = std::vector<std::string>;
    StoreOp op;
    op.what = RemoveOp{{TaskId{1}, TaskId{2}, TaskId{7}, TaskId{99}}};
    CHECK(one(store, op).files == Files{"1.1", "2.1"});
    CHECK(one(store, op).files.empty());
    CollectOp collect;
    collect.pool = "pool";
    collect.done_before.ns = 100;
    collect.limit = 2;
    op.what = collect;
    CHECK(one(store, op).files == Files{"3.1", "4.1"});
    RemoveTasks remove;
    remove.filter.pool = "pool";
    CHECK(store.answer(remove).files == Files{"5.1", "6.1"});
    CHECK(store.answer(ListTasks()).tasks.size() == 1);
  });
}

TEST_CASE("files of results count for the quota") {
  const Directory directory;
  auto bytes = std::make_shared<std::atomic<std::uint64_t>>(0);
  SqliteOptions options = directory.options();
  options.quota = 16ULL << 20U;
  options.file_bytes = bytes;
  const auto store = opened(std::move(options));
  CHECK(one(*store, put_of({task_of(1)})).status == StoreStatus::committed);
  *bytes = 16ULL << 20U;
  CHECK(one(*store, put_of({task_of(2)})).status == StoreStatus::full);
  CHECK(one(*store, finish_of(1, 0, TaskState::done)).status == StoreStatus::committed);
  CHECK(store->answer(DescribeStore()).description.bytes > 16ULL << 20U);
  *bytes = 0;
  CHECK(one(*store, probe()).status == StoreStatus::committed);
  CHECK(one(*store, put_of({task_of(2)})).status == StoreStatus::committed);
}

TEST_CASE("questions: filters, counts, removal of final tasks only") {
  for_each_store([](TaskStore& store) {
    std::vector<NewTask> tasks;
    for (std::uint64_t id = 1; id <= 10; ++id) {
      tasks.push_back(task_of(id));
      tasks.back().facts.group = id % 2 == 0 ? "even" : "";
    }
    (void)one(store, put_of(tasks));
    (void)one(store, finish_of(2, 0, TaskState::dead));
    (void)one(store, finish_of(3, 0, TaskState::dead));
    ListTasks list;
    list.filter.group = "even";
    list.filter.after.value = 2;
    list.filter.limit = 3;
    const StoreReply even = store.answer(list);
    REQUIRE(even.tasks.size() == 3);
    CHECK(even.tasks[0].row.facts.id.value == 4);
    const StoreReply counts = store.answer(CountTasks{"pool", ""});
    CHECK(counts.counts.by_state[static_cast<int>(TaskState::dead)] == 2);
    CHECK(counts.counts.by_state[static_cast<int>(TaskState::waiting)] == 8);
    CHECK(store.answer(CountTasks{"other", ""}).counts.by_state[1] == 0);
    RemoveTasks remove;
    remove.filter.group = "even";
    CHECK(store.answer(remove).removed == 1);
    remove.filter = TaskFilter();
    remove.filter.states = {TaskState::waiting, TaskState::dead};
    CHECK(store.answer(remove).removed == 1);
    CHECK(store.answer(ListTasks()).tasks.size() == 8);
  });
}

TEST_CASE("whatever is asked of it, SQLite says what memory says") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    const Directory directory;
    auto sqlite = opened(directory.options());
    MemoryStore memory(1ULL << 40U);
    StoreSamples samples(seed);
    for (int round = 0; round < 80; ++round) {
      const auto batch = samples.batch(12);
      REQUIRE(difference(dump(sqlite->commit(batch)), dump(memory.commit(batch))) == "");
      sqlite->tidy();
      if (round % 20 != 19) continue;
      sqlite.reset();
      sqlite = opened(directory.options());
      REQUIRE(difference(dump(*sqlite), dump(memory)) == "");
    }
    const auto before = memory.load(), after = sqlite->load();
    REQUIRE(before);
    REQUIRE(after);
    CHECK(before->last_id == after->last_id);
    for (const auto& [pool, recovered] : before->pools) {
      CHECK(after->pools.at(pool).tasks.size() == recovered.tasks.size());
      CHECK(after->pools.at(pool).oldest_done == recovered.oldest_done);
      CHECK(after->pools.at(pool).oldest_dead == recovered.oldest_dead);
    }
  }
}

TEST_CASE("in another life of mtd what was running is with nobody, whatever its worker's number") {
  const Directory directory;
  SqliteOptions options = directory.options();
  options.life = "1";
  {
    const auto store = opened(options);
    (void)one(*store, put_of({task_of(1), task_of(2)}));
    (void)one(*store, claim_of(1));
  }
  const auto running = [&] {
    auto store = SqliteStore::open(options);
    REQUIRE(store);
    const auto contents = (*store)->load();
    REQUIRE(contents);
    const auto& tasks = contents->pools.at("pool").tasks;
    REQUIRE(tasks.size() == 2);
    return tasks[0].state == TaskState::running ? tasks[0].worker : tasks[1].worker;
  };
  CHECK(running() == WorkerKey{1, 7});
  options.life = "2";
  CHECK(running() == WorkerKey{1, 0});
  CHECK(running() == WorkerKey{1, 0});
  options.life = "1";  // it does not come back
  CHECK(running() == WorkerKey{1, 0});
}

// ---- The process is killed, the power goes
// --------------------------------------------------------
namespace {

// One life of a store that ends at the k-th change of the disk. What it must hold afterwards: all
// that was committed before, and perhaps the batch that was under way, whole. After a loss of power
// it may be what it was after any batch since the last one that had to be synced.
struct Sweep {
  std::uint64_t seed = 1;
  std::size_t body_bytes = 40;
  int rounds = 10;
  std::size_t batch = 6;

  // False: the run came to its end before the k-th change.
  bool run(std::uint64_t stop_at, After after) const {
    FaultDisk disk;
    disk.stop_at(stop_at);
    MemoryStore mirror(1ULL << 40U);
    std::vector<std::string> allowed{dump(mirror)};
    bool stopped = false;
    {
      auto store = SqliteStore::open(on_fault_disk());
      stopped = !store;
      StoreSamples samples(seed, body_bytes);
      for (int round = 0; round < rounds && !stopped; ++round) {
        const auto ops = samples.batch(batch);
        const auto completions = (*store)->commit(ops);
        stopped = completions[0].status == StoreStatus::failed;
        (void)mirror.commit(ops);
        bool synced = false;
        for (const StoreOp& op : ops) {
          synced = synced || (op.durability == Durability::fsync &&
                              (std::holds_alternative<PutOp>(op.what) ||
                               std::holds_alternative<FinishOp>(op.what) ||
                               std::holds_alternative<CancelOp>(op.what)));
        }
        if (!stopped && (synced || after == After::kill)) allowed.clear();
        allowed.push_back(dump(mirror));
        if (!stopped) (*store)->tidy();
      }
      if (!stopped && !disk.has_stopped()) return false;
    }
    disk.start_again(after, stop_at);
    auto again = SqliteStore::open(on_fault_disk());
    CAPTURE(stop_at);
    CAPTURE(seed);
    REQUIRE(again);
    const std::string holds = dump(**again);
    const bool is_allowed = std::find(allowed.begin(), allowed.end(), holds) != allowed.end();
    REQUIRE(is_allowed);
    REQUIRE((*again)->note().empty());
    return true;
  }
};

std::uint64_t sweep(const Sweep& plan, After after, std::uint64_t stride) {
  std::uint64_t stops = 0;
  for (std::uint64_t k = 1; plan.run(k, after); k += stride)
    ++stops;
  return stops;
}

}  // namespace

TEST_CASE("killed at any write: what was committed is there, whole") {
  CHECK(sweep(Sweep(), After::kill, 1) > 50);
}

TEST_CASE("the power goes at any write: what had to be synced is there, whole") {
  CHECK(sweep(Sweep(), After::power_cut, 1) > 50);
  Sweep other;
  other.seed = 2;
  CHECK(sweep(other, After::torn, 1) > 50);
}

TEST_CASE("killed or cut off while the log is moved into the file") {
  Sweep large;
  large.seed = 3;
  large.body_bytes = 600'000;
  large.rounds = 8;
  large.batch = 6;
  for (const After after : {After::kill, After::power_cut, After::torn})
    CHECK(sweep(large, after, 149) > 5);
}

// ---- No room
// --------------------------------------------------------------------------------------
TEST_CASE("a full disk refuses puts before answers, and goes on when there is room") {
  FaultDisk disk;
  SUBCASE("no space is left") {}
  SUBCASE("the quota of a user is used up") {
    disk.set_want_of_room(EDQUOT);
  }
  auto store = opened(on_fault_disk());
  std::uint64_t id = 0;
  for (; id < 50; ++id)
    REQUIRE(one(*store, put_of({task_of(id + 1)})).status == StoreStatus::committed);
  for (std::uint64_t task = 1; task <= 20; ++task)
    REQUIRE(one(*store, claim_of(task)).status == StoreStatus::committed);
  disk.set_capacity(disk.used());
  std::uint64_t more = 0;
  while (one(*store, put_of({task_of(++id, "", 9000)})).status == StoreStatus::committed)
    REQUIRE(++more < 1000);
  CHECK(store->health() == StoreHealth::full);
  CHECK(one(*store, claim_of(30)).status == StoreStatus::full);
  CHECK(one(*store, probe()).status == StoreStatus::committed);  // it cannot know without a ballast
  disk.set_capacity(~std::uint64_t{0});
  CHECK(one(*store, probe()).status == StoreStatus::committed);
  CHECK(store->health() == StoreHealth::good);
  for (std::uint64_t task = 1; task <= 20; ++task)
    CHECK(one(*store, finish_of(task, 1, TaskState::done)).status == StoreStatus::committed);
  CHECK(one(*store, put_of({task_of(++id)})).status == StoreStatus::committed);
}

TEST_CASE("on a disk that is full at the start what is there is served, and puts are refused") {
  FaultDisk disk;
  SUBCASE("no space is left") {}
  SUBCASE("the quota of a user is used up") {
    disk.set_want_of_room(EDQUOT);
  }
  {
    const auto store = opened(on_fault_disk());
    (void)one(*store, put_of({task_of(1), task_of(2, "two")}));
    (void)one(*store, claim_of(1));
    disk.stop_at(disk.changes() + 1);  // killed: the log stays
  }
  disk.start_again(After::kill);
  disk.set_capacity(disk.used());
  const std::uint64_t before = disk.changes();
  const auto store = opened(on_fault_disk());
  CHECK(disk.changes() == before);  // opening writes nothing
  FindTask which;
  which.uid = "two";
  CHECK(store->answer(which).tasks.size() == 1);
  CHECK(one(*store, put_of({task_of(3)})).status == StoreStatus::full);
  CHECK(one(*store, claim_of(2)).status == StoreStatus::full);
  disk.set_capacity(~std::uint64_t{0});
  CHECK(one(*store, probe()).status == StoreStatus::committed);
  CHECK(one(*store, finish_of(1, 1, TaskState::done)).status == StoreStatus::committed);
  CHECK(one(*store, put_of({task_of(3)})).status == StoreStatus::committed);
}

TEST_CASE("no change is half done when the room ends in the middle of a batch") {
  for (std::uint64_t spare = 0; spare < 40'000; spare += 1901) {
    FaultDisk disk;
    disk.set_want_of_room(spare % 2 == 0 ? EDQUOT : 0);
    auto store = opened(on_fault_disk());
    MemoryStore mirror(1ULL << 40U);
    StoreSamples samples(7, 3000);
    for (int round = 0; round < 6; ++round) {
      const auto ops = samples.batch(6);
      (void)mirror.commit(ops);
      (void)store->commit(ops);
    }
    disk.set_capacity(disk.used() + spare);
    for (int round = 0; round < 10; ++round) {
      const auto ops = samples.batch(6);
      std::vector<StoreOp> took;
      const auto completions = store->commit(ops);
      for (std::size_t i = 0; i < ops.size(); ++i) {
        REQUIRE(completions[i].status != StoreStatus::failed);
        if (completions[i].status != StoreStatus::full) took.push_back(ops[i]);
      }
      (void)mirror.commit(took);
      CAPTURE(spare);
      REQUIRE(difference(dump(*store), dump(mirror)) == "");
    }
  }
}

TEST_CASE("the quota refuses puts; every claim and every answer still has room") {
  const Directory directory;
  SqliteOptions options = directory.options();
  options.quota = 2ULL << 20U;
  const auto store = opened(options);
  const auto put = [&](std::uint64_t id) {
    return one(*store, put_of({task_of(id, "", 900)}, Durability::process)).status;
  };
  std::uint64_t id = 1;
  while (put(id) == StoreStatus::committed)
    REQUIRE(++id < 10'000);
  CHECK(id > 500);
  CHECK(store->health() == StoreHealth::full);
  for (std::uint64_t task = 1; task < id; ++task) {  // or no task would ever make room
    REQUIRE(one(*store, claim_of(task)).status == StoreStatus::committed);
    REQUIRE(one(*store, finish_of(task, 1, TaskState::done)).status == StoreStatus::committed);
  }
  CHECK(one(*store, probe()).status == StoreStatus::full);
  RemoveTasks remove;
  remove.filter.limit = 10'000;
  CHECK(store->answer(remove).removed == id - 1);
  CHECK(one(*store, probe()).status == StoreStatus::committed);
  CHECK(put(id + 1) == StoreStatus::committed);
}

TEST_CASE("a large error of an attempt goes with its task, whatever came after it") {
  const Directory directory;
  const auto store = opened(directory.options());
  const auto used = [&] { return store->answer(DescribeStore()).description.bytes; };
  const auto begin_and_end = [&](std::uint64_t id) {
    REQUIRE(one(*store, put_of({task_of(id)})).status == StoreStatus::committed);
    REQUIRE(one(*store, claim_of(id)).status == StoreStatus::committed);
    RequeueOp failed;
    failed.id.value = id;
    failed.attempt = failed.counters.attempts = failed.record.attempt = 1;
    failed.answer = std::make_shared<Answer>(Answer{"", "", "", std::string(100'000, 'e')});
    StoreOp op;
    op.what = failed;
    REQUIRE(one(*store, std::move(op)).status == StoreStatus::committed);
    REQUIRE(one(*store, claim_of(id, 2)).status == StoreStatus::committed);
    REQUIRE(one(*store, finish_of(id, 2, TaskState::done)).status == StoreStatus::committed);
    StoreOp removal;
    removal.what = RemoveOp{{TaskId{id}}};
    REQUIRE(one(*store, std::move(removal)).removed == 1);
  };
  begin_and_end(1);
  const std::uint64_t before = used();
  for (std::uint64_t id = 2; id < 10; ++id)
    begin_and_end(id);
  CHECK(used() <= before);
}

// ---- Failures that are final
// ------------------------------------------------------------------------
TEST_CASE("a claim that no other attempt may follow outlives the power") {
  FaultDisk disk;
  {
    const auto store = opened(on_fault_disk());
    REQUIRE(one(*store, put_of({task_of(1)})).status == StoreStatus::committed);
    StoreOp claim = claim_of(1);
    std::get<ClaimOp>(claim.what).only_one = true;
    REQUIRE(one(*store, std::move(claim)).status == StoreStatus::committed);
    disk.stop_at(disk.changes() + 1);
  }
  disk.start_again(After::power_cut);
  auto store = SqliteStore::open(on_fault_disk());
  REQUIRE(store);
  const auto contents = (*store)->load();
  REQUIRE(contents);
  CHECK(contents->pools.at("pool").tasks.at(0).state == TaskState::running);
}

TEST_CASE("a failed fsync is final: nothing is ever committed again, what was is there") {
  for (std::uint64_t nth = 1; nth < 12; ++nth) {
    FaultDisk disk;
    MemoryStore mirror(1ULL << 40U);
    std::vector<std::string> allowed;
    {
      const auto store = opened(on_fault_disk());
      disk.fail_sync(disk.syncs() + nth);
      StoreSamples samples(5);
      bool failed = false;
      for (int round = 0; round < 60 && !failed; ++round) {
        auto ops = samples.batch(4);
        ops.push_back(put_of({task_of(100'000 + static_cast<std::uint64_t>(round))}));
        const auto completions = store->commit(ops);
        failed = completions[0].status == StoreStatus::failed;
        allowed = {dump(mirror)};
        (void)mirror.commit(ops);
        allowed.push_back(dump(mirror));
        if (!failed) allowed.erase(allowed.begin());
      }
      REQUIRE(failed);
      disk.fail_sync(0);
      CHECK(store->health() == StoreHealth::failed);
      CHECK(one(*store, put_of({task_of(999)})).status == StoreStatus::failed);
      CHECK(one(*store, probe()).status == StoreStatus::failed);
      CHECK_FALSE(store->answer(ListTasks()).error.empty());
      CHECK_FALSE(store->answer(DescribeStore()).description.message.empty());
    }
    disk.start_again(After::power_cut);
    const auto again = opened(on_fault_disk());
    const std::string holds = dump(*again);
    CAPTURE(nth);
    const bool is_allowed = std::find(allowed.begin(), allowed.end(), holds) != allowed.end();
    REQUIRE(is_allowed);
  }
}

TEST_CASE("a sync that fails in a checkpoint is the failure of all that waits for one") {
  FaultDisk disk;
  const auto store = opened(on_fault_disk());
  std::vector<NewTask> tasks;
  for (std::uint64_t id = 1; id <= 1200; ++id)
    tasks.push_back(task_of(id, {}, 4096));
  std::vector<StoreOp> batch;
  batch.push_back(put_of(std::move(tasks)));
  REQUIRE(store->write(std::move(batch)).at(0).status == StoreStatus::committed);
  disk.fail_next_sync();
  store->tidy();
  CHECK(store->health() == StoreHealth::failed);
  CHECK_FALSE(store->sync());
}

TEST_CASE("a sync beside a checkpoint does not succeed because the checkpoint was told the error") {
  FaultDisk disk;
  const auto store = opened(on_fault_disk());
  std::vector<NewTask> tasks;
  for (std::uint64_t id = 1; id <= 1200; ++id)
    tasks.push_back(task_of(id, {}, 4096));
  std::vector<StoreOp> batch;
  batch.push_back(put_of(std::move(tasks)));
  REQUIRE(store->write(std::move(batch)).at(0).status == StoreStatus::committed);
  disk.hold_next_sync();
  std::thread checkpoint([&] { store->tidy(); });
  disk.wait_until_held();  // the kernel has told its error; nobody knows of it yet
  auto beside = std::async(std::launch::async, [&] { return store->sync(); });
  // Time enough to be told something wrong; what is right takes as long as the other one.
  CHECK(beside.wait_for(std::chrono::milliseconds(200)) == std::future_status::timeout);
  disk.let_go();
  checkpoint.join();
  CHECK_FALSE(beside.get());
  CHECK(store->health() == StoreHealth::failed);
}

TEST_CASE(
    "a failed write is final, too: nothing of its batch counts, what was committed is there") {
  std::uint64_t found = 0;
  for (std::uint64_t nth = 1; nth < 40; ++nth) {
    FaultDisk disk;
    MemoryStore mirror(1ULL << 40U);
    std::string before, after;  // after: its writes were done, and their sync has failed
    {
      const auto store = opened(on_fault_disk());
      disk.fail_change(disk.changes() + nth);
      StoreSamples samples(11);
      bool failed = false;
      for (int round = 0; round < 12 && !failed; ++round) {
        const auto ops = samples.batch(4);
        const std::uint64_t syncs = disk.syncs();
        const auto completions = store->commit(ops);
        failed = completions[0].status == StoreStatus::failed;
        for (const StoreDone& done : completions)
          REQUIRE((done.status == StoreStatus::failed) == failed);
        if (failed) before = dump(mirror);
        (void)mirror.commit(ops);
        if (failed && disk.syncs() > syncs) after = dump(mirror);
      }
      if (!failed) continue;  // SQLite could do without this one
      ++found;
      CHECK(store->health() == StoreHealth::failed);
      CHECK(one(*store, put_of({task_of(999)})).status == StoreStatus::failed);
    }
    disk.start_again(After::kill);
    CAPTURE(nth);
    const std::string holds = dump(*opened(on_fault_disk()));
    if (holds != after) REQUIRE(difference(holds, before) == "");
  }
  CHECK(found > 20);
}

TEST_CASE("a log that is cut off, zeroed or damaged costs what stands behind, and nothing else") {
  std::vector<std::string> states;
  std::string log, main;
  {
    FaultDisk disk;
    MemoryStore mirror(1ULL << 40U);
    states.push_back(dump(mirror));
    const auto store = opened(on_fault_disk());
    StoreSamples samples(4);
    for (int round = 0; round < 12; ++round) {
      const auto ops = samples.batch(4);
      (void)store->commit(ops);
      (void)mirror.commit(ops);
      states.push_back(dump(mirror));
    }
    log = disk.content("tasks.db-wal");
    main = disk.content("tasks.db");
  }
  REQUIRE(log.size() > 40'000);
  std::size_t last = 0, shorter = 0;
  const auto holds = [&](const std::string& damaged, std::size_t at) {
    FaultDisk disk;
    disk.content("tasks.db") = main;
    disk.content("tasks.db-wal") = damaged;
    for (const char* const name : {"tasks.db", "tasks.db-wal"})
      disk.files()[name].exists = true;
    disk.start_again(After::kill);
    const auto store = opened(on_fault_disk());
    CAPTURE(at);
    REQUIRE(store->note().empty());
    const std::string held = dump(*store);
    const auto found = std::find(states.begin(), states.end(), held);
    REQUIRE(found != states.end());
    return static_cast<std::size_t>(found - states.begin());
  };
  CHECK(holds(log, log.size()) == states.size() - 1);
  // The schema stands in the log, too: before its end there are no tasks at all.
  for (std::size_t at = log.size() - 1; at > 20'000; at -= 997) {
    const std::size_t cut = holds(log.substr(0, at), at);
    std::string zeroed = log, flipped = log;
    std::fill(zeroed.begin() + static_cast<std::ptrdiff_t>(at), zeroed.end(), '\0');
    flipped[at] = static_cast<char>(~flipped[at]);
    CHECK(holds(zeroed, at) >= cut);  // the rest of its frame may have been zeros before
    CHECK(holds(flipped, at) == cut);
    CHECK((last == 0 || cut <= last));
    shorter += last != 0 && cut < last ? 1 : 0;
    last = cut;
  }
  CHECK(shorter > 3);
}

TEST_CASE("a log that is missing leaves what had been moved into the file") {
  FaultDisk disk;
  MemoryStore mirror(1ULL << 40U);
  StoreSamples samples(8, 30'000);
  {
    const auto store = opened(on_fault_disk());
    for (int round = 0; round < 20; ++round) {
      const auto ops = samples.batch(6);
      (void)store->commit(ops);
      (void)mirror.commit(ops);
    }
  }  // closed in order: nothing is left in the log
  disk.files().erase("tasks.db-wal");
  disk.start_again(After::kill);
  CHECK(difference(dump(*opened(on_fault_disk())), dump(mirror)) == "");
}

TEST_CASE("a damaged database is set aside with its name and a loud note") {
  for (const bool header : {true, false}) {
    const Directory directory;
    const SqliteOptions options = directory.options();
    {
      const auto store = opened(options);
      for (std::uint64_t id = 1; id < 200; ++id)
        (void)one(*store, put_of({task_of(id, "", 600)}));
    }
    {
      std::fstream file(options.path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(header ? 0 : 8192);
      file << std::string(header ? 64 : 40'000, '\x5a');
    }
    SqliteOptions next = options;
    next.boot_id = "another boot";
    next.last_id_anew = 1'000'000;
    {
      const auto store = opened(next);
      CHECK(store->note().find(options.path + ".bad.20261127T101112") != std::string::npos);
      CHECK(std::filesystem::exists(options.path + ".bad.20261127T101112"));
      CHECK(store->answer(ListTasks()).tasks.empty());
    }
    const auto store = SqliteStore::open(next);
    REQUIRE(store);
    CHECK((*store)->note().empty());
    const auto contents = (*store)->load();
    REQUIRE(contents);
    CHECK(contents->last_id == TaskId{1'000'000});  // a worker may still have one of before
    CHECK(one(**store, put_of({task_of(1'000'001)})).status == StoreStatus::committed);
  }
}

namespace {

void spoil(const std::string& path, std::streamoff from, std::size_t bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(from);
  file << std::string(bytes, '\x5a');
}

}  // namespace

TEST_CASE("damage that shows when tasks are loaded sets the database aside, too") {
  const Directory directory;
  SqliteOptions options = directory.options();
  options.last_id_anew = 1'000'000;
  {
    const auto store = opened(options);
    for (std::uint64_t id = 1; id < 200; ++id)
      (void)one(*store, put_of({task_of(id, "", 600)}));
  }
  spoil(options.path, 100'000, 20'000);
  {
    auto store = SqliteStore::open(options);  // in the same boot not all of it is looked at
    REQUIRE(store);
    CHECK((*store)->note().empty());
    const auto contents = (*store)->load();
    REQUIRE(contents);
    CHECK(contents->pools.empty());
    CHECK(contents->last_id == TaskId{1'000'000});
    CHECK((*store)->note().find("stands in " + options.path + ".bad.") != std::string::npos);
    CHECK(one(**store, put_of({task_of(1'000'001)})).status == StoreStatus::committed);
  }
  CHECK(opened(options)->answer(ListTasks()).tasks.size() == 1);
}

TEST_CASE("damage that shows in use is looked for at the next opening") {
  const Directory directory;
  const SqliteOptions options = directory.options();
  {
    const auto store = opened(options);
    (void)one(*store, put_of({task_of(1, "", 600'000), task_of(2)}));
  }
  spoil(options.path, 200'000, 100'000);
  {
    const auto store = opened(options);
    FindTask body;
    body.id.value = 1;
    body.with_body = true;
    CHECK_FALSE(store->answer(body).error.empty());
    CHECK(store->health() == StoreHealth::failed);
  }
  {
    const auto store = opened(options);
    CHECK(store->note().find("is damaged") != std::string::npos);
    CHECK(one(*store, put_of({task_of(3)})).status == StoreStatus::committed);
  }
  CHECK(opened(options)->note().empty());  // once
}

TEST_CASE("a database of before dead letters had an index gets one, and lists as before") {
  const Directory directory;
  const SqliteOptions options = directory.options();
  const auto list = [&](SqliteStore& store) {
    std::string ids;
    for (const auto& states :
         {std::vector{TaskState::dead}, {TaskState::waiting}, {TaskState::dead, TaskState::done}}) {
      ListTasks which;
      which.filter.pool = "pool";
      which.filter.states = states;
      which.filter.after.value = 1;
      for (const FoundTask& task : store.answer(which).tasks)
        ids += std::to_string(task.row.facts.id.value) + " ";
      ids += "| ";
    }
    return ids;
  };
  const std::string expected =
      "4 6 8 10 12 14 16 18 | 2 3 5 7 | 4 6 8 9 10 11 12 13 14 15 16 17 18 19 | ";
  {
    const auto store = opened(options);
    for (std::uint64_t id = 1; id < 20; ++id)
      (void)one(*store, put_of({task_of(id)}));
    for (std::uint64_t id = 19; id > 3; --id) {
      if (id % 2 == 1 && id < 8) continue;
      (void)one(*store, finish_of(id, 0, id % 2 == 0 ? TaskState::dead : TaskState::done));
    }
    CHECK(list(*store) == expected);
  }
  {
    Database database;
    REQUIRE(database.open(options.path, nullptr) == SQLITE_OK);
    REQUIRE(database.execute("DROP INDEX task_dead_letter") == SQLITE_OK);
  }
  CHECK(list(*opened(options)) == expected);
  Database database;
  std::int64_t indices = 0;
  REQUIRE(database.open(options.path, nullptr) == SQLITE_OK);
  REQUIRE(database.number("SELECT COUNT(*) FROM sqlite_master WHERE name='task_dead_letter'",
                          indices) == SQLITE_OK);
  CHECK(indices == 1);
}

TEST_CASE("a database that is somebody else's, newer, or in use is refused and left alone") {
  const Directory directory;
  const SqliteOptions options = directory.options();
  {
    Database other;
    REQUIRE(other.open(options.path, nullptr) == SQLITE_OK);
    REQUIRE(other.execute("CREATE TABLE mine(x)") == SQLITE_OK);
  }
  auto refused = SqliteStore::open(options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("something else") != std::string::npos);
  std::filesystem::remove(options.path);
  {
    const auto store = opened(options);
    auto second = SqliteStore::open(options);
    REQUIRE_FALSE(second);
    CHECK(second.error().message.find("in use") != std::string::npos);
  }
  {
    Database newer;
    REQUIRE(newer.open(options.path, nullptr) == SQLITE_OK);
    REQUIRE(newer.execute("PRAGMA user_version=99") == SQLITE_OK);
  }
  refused = SqliteStore::open(options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("newer mtd (version 99") != std::string::npos);
}

TEST_CASE("a database has the rights of its owner only") {
  const Directory directory;
  const auto store = opened(directory.options());
  (void)one(*store, put_of({task_of(1)}));
  using std::filesystem::perms;
  for (const char* const suffix : {"", "-wal", ".ballast"}) {
    const auto rights = std::filesystem::status(directory.options().path + suffix).permissions();
    CHECK((rights & (perms::group_all | perms::others_all)) == perms::none);
  }
}

TEST_CASE("a want that passes costs no more than the answer whose file cannot be synced") {
  enum class Costs { nothing, the_answer, the_store };
  struct Row {
    const char* want;
    int error;  // of fsync(2); 0: there is no descriptor
    int times;
    Costs costs;
  };
  for (const Row& row :
       {Row{"descriptors", 0, 0, Costs::nothing}, Row{"memory", ENOMEM, 1, Costs::nothing},
        Row{"time", EINTR, 3, Costs::nothing}, Row{"room", ENOSPC, 1, Costs::the_answer},
        Row{"a larger quota", EDQUOT, 1, Costs::the_answer},
        Row{"a disk that works", EIO, 1, Costs::the_store}}) {
    CAPTURE(row.want);
    const Directory directory;
    SqliteOptions options = directory.options();
    options.files = directory.path + "/parts";
    const auto store = opened(options);
    std::ofstream(options.files + "/1.1") << "large";
    REQUIRE(one(*store, put_of({task_of(1)})).status == StoreStatus::committed);
    StoreOp finish = finish_of(1, 0, TaskState::done);
    std::get<FinishOp>(finish.what).answer = std::make_shared<Answer>(Answer{"", "", "1.1", ""});
    std::vector<StoreOp> batch;
    batch.push_back(std::move(finish));
    REQUIRE(store->write(std::move(batch)).at(0).status == StoreStatus::committed);
    if (row.error == 0) {
      const NoDescriptors none;
      CHECK(store->sync());
    } else {
      refuse_fsync(row.error, row.times);
      CHECK(store->sync() == (row.costs != Costs::the_store));
      refuse_fsync(0, 0);
    }
    CHECK(std::filesystem::exists(options.files + "/1.1") == (row.costs != Costs::the_answer));
    CHECK((store->health() == StoreHealth::failed) == (row.costs == Costs::the_store));
  }
}

TEST_CASE("wants that pass, and errors that do not") {
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOSPC, EDQUOT, EINTR, EAGAIN})
    CHECK(sys::is_passing_want(error));
  for (const int error : {EIO, EROFS, EACCES, ENOENT, EBADF})
    CHECK_FALSE(sys::is_passing_want(error));
  const Directory directory;
  std::ofstream(directory.path + "/file") << "something";
  const sys::SyncedDirectory without_spare(directory.path);
  CHECK(without_spare.sync("file"));
  CHECK(without_spare.sync("not there"));
  const NoDescriptors none;
  CHECK(without_spare.sync("file").error().errno_value == EMFILE);
}

// ---- The thread
// -------------------------------------------------------------------------------------
TEST_CASE("the thread keeps the order of operations and questions, and shares commits") {
  const Directory directory;
  auto thread = StoreThread::start(opened(directory.options()));
  REQUIRE(thread);
  constexpr std::uint64_t kTasks = 3000;
  for (std::uint64_t id = 1; id <= kTasks; ++id) {
    std::vector<StoreOp> ops;
    ops.push_back(put_of({task_of(id)}));
    ops.back().token = id;
    ops.push_back(claim_of(id));
    ops.back().token = id;
    (*thread)->submit(std::move(ops));
    if (id % 500 == 0) (*thread)->ask(id, CountTasks());
  }
  std::uint64_t puts = 0, synced = 0, claims = 0, answers = 0;
  while (synced < kTasks || claims < kTasks || answers < kTasks / 500) {
    pollfd ready{(*thread)->fd(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, -1) == 1);
    for (StoreOutput& output : (*thread)->take()) {
      if (const auto* replied = std::get_if<StoreReplied>(&output)) {
        ++answers;
        CHECK(synced >= replied->token);
        CHECK(claims >= replied->token);
        CHECK(replied->reply.counts.by_state[static_cast<int>(TaskState::running)] ==
              replied->token);
        continue;
      }
      if (const auto* kept = std::get_if<StoreSynced>(&output)) {
        CHECK(kept->kept);
        synced += kept->puts;
        CHECK(synced <= puts);
        continue;
      }
      const auto& completion = std::get<StoreDone>(output);
      REQUIRE(completion.status == StoreStatus::committed);
      const bool is_put = std::holds_alternative<PutOp>(completion.op.what);
      REQUIRE(completion.op.token == ++(is_put ? puts : claims));
    }
  }
}

namespace {

// A store on a disk that can fail, and its thread.
struct Thread {
  Thread() {
    auto started = StoreThread::start(opened(on_fault_disk()));
    REQUIRE(started);
    thread = std::move(*started);
  }
  void submit(StoreOp op) const {
    std::vector<StoreOp> ops;
    ops.push_back(std::move(op));
    thread->submit(std::move(ops));
  }
  StoreOutput next() {
    while (output.empty()) {
      pollfd ready{thread->fd(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, -1) == 1);
      for (StoreOutput& one : thread->take())
        output.push_back(std::move(one));
    }
    StoreOutput first = std::move(output.front());
    output.pop_front();
    return first;
  }
  StoreStatus status_of(StoreOp op) {
    submit(std::move(op));
    return std::get<StoreDone>(next()).status;
  }
  FaultDisk disk;
  std::unique_ptr<StoreThread> thread;
  std::deque<StoreOutput> output;
};

}  // namespace

TEST_CASE("a sync that fails is told of everything that waited for it, and of all that comes") {
  Thread store;
  REQUIRE(store.status_of(put_of({task_of(1)})) == StoreStatus::committed);
  CHECK(std::get<StoreSynced>(store.next()).kept);
  REQUIRE(store.status_of(claim_of(1)) == StoreStatus::committed);
  store.disk.fail_sync(store.disk.syncs() + 1);
  SUBCASE("puts have been told as written, and not as kept") {
    CHECK(store.status_of(put_of({task_of(2)})) == StoreStatus::committed);
    const auto puts = std::get<StoreSynced>(store.next());
    CHECK(puts.puts == 1);
    CHECK_FALSE(puts.kept);
  }
  SUBCASE("ends have not been told") {
    CHECK(store.status_of(finish_of(1, 1, TaskState::done)) == StoreStatus::failed);
  }
  store.disk.fail_sync(0);
  CHECK(store.status_of(put_of({task_of(3)})) == StoreStatus::failed);
  CHECK(store.status_of(claim_of(1)) == StoreStatus::failed);
}

TEST_CASE("an end is told after its put was told as kept, and has two syncs at most with it") {
  Thread store;
  constexpr std::uint64_t kTasks = 50;  // too few for a checkpoint, which syncs as well
  const std::uint64_t before = store.disk.syncs();
  for (std::uint64_t id = 1; id <= kTasks; ++id) {
    REQUIRE(store.status_of(put_of({task_of(id)})) == StoreStatus::committed);
    store.submit(finish_of(id, 0, TaskState::cancelled));
    CHECK(std::get<StoreSynced>(store.next()).puts == 1);
    CHECK(std::get<StoreDone>(store.next()).status == StoreStatus::committed);
  }
  CHECK(store.disk.syncs() - before <= 2 * kTasks);
}

namespace {

// A store whose syncs wait until they are let go, and whose writes take as long as they are to.
class SlowStore final : public TaskStore {
 public:
  [[nodiscard]] Result<StoreContents> load() override { return store_.load(); }
  [[nodiscard]] std::vector<StoreDone> write(std::vector<StoreOp> batch) override {
    const Instant end = sys::now() + write_takes;
    while (sys::now() < end)
      std::this_thread::yield();
    return store_.write(std::move(batch));
  }
  [[nodiscard]] bool sync() override {
    std::unique_lock hold(lock_);
    ++begun_;
    changed_.notify_all();
    changed_.wait(hold, [this] { return !held_; });
    return true;
  }
  [[nodiscard]] StoreReply answer(const StoreQuestion& question) override {
    return store_.answer(question);
  }
  [[nodiscard]] StoreHealth health() const override { return StoreHealth::good; }

  void hold_syncs() {
    const std::lock_guard hold(lock_);
    held_ = true;
  }
  void wait_for_sync(int count) {
    std::unique_lock hold(lock_);
    changed_.wait(hold, [&] { return begun_ >= count; });
  }
  void let_go() {
    const std::lock_guard hold(lock_);
    held_ = false;
    changed_.notify_all();
  }
  Duration write_takes;

 private:
  MemoryStore store_{1 << 20};
  std::mutex lock_;
  std::condition_variable changed_;
  bool held_ = false;
  int begun_ = 0;
};

struct SlowThread {
  SlowThread() {
    auto made = std::make_unique<SlowStore>();
    store = made.get();
    auto started = StoreThread::start(std::move(made));
    REQUIRE(started);
    thread = std::move(*started);
  }
  // As soon as the threads are at rest.
  StoreDone put(std::uint64_t id) const {
    StoreOp op = put_of({task_of(id)});
    for (;;) {
      if (auto done = thread->put_at_once(op)) {
        thread->begin_sync();
        return std::move(*done);
      }
      (void)thread->take();  // what is not taken is under way
      std::this_thread::yield();
    }
  }
  SlowStore* store = nullptr;
  std::unique_ptr<StoreThread> thread;
};

}  // namespace

TEST_CASE("a single put is written at once where nothing else is under way, and synced") {
  SlowThread slow;
  slow.store->hold_syncs();
  const StoreDone done = slow.put(1);
  CHECK(done.status == StoreStatus::committed);
  CHECK(done.puts == std::vector<PutOutcome>{{TaskId{1}, Existed::no}});
  slow.store->wait_for_sync(1);
  StoreOp second = put_of({task_of(2)});
  CHECK_FALSE(slow.thread->put_at_once(second));  // the disk is busy
  CHECK(std::get<PutOp>(second.what).tasks.size() == 1);
  std::vector<StoreOp> ops;
  ops.push_back(std::move(second));
  slow.thread->submit(std::move(ops));
  slow.store->let_go();
  std::uint32_t puts = 0, written = 0;
  while (puts < 2) {
    pollfd ready{slow.thread->fd(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, -1) == 1);
    for (StoreOutput& one : slow.thread->take()) {
      if (const auto* synced = std::get_if<StoreSynced>(&one)) puts += synced->puts;
      if (std::holds_alternative<StoreDone>(one)) ++written;
    }
  }
  CHECK(puts == 2);
  CHECK(written == 1);
}

TEST_CASE("what the loop may write waits for no sync of SQLite's own") {
  const FaultDisk disk;
  const auto store = opened(on_fault_disk());
  int at_once = 0, synced = 0;
  for (std::uint64_t id = 1; id <= 600; ++id) {
    const bool is_at_once = store->writes_at_once();
    const std::uint64_t before = disk.syncs();
    REQUIRE(store->write({put_of({task_of(id, {}, 9000)})}).at(0).status == StoreStatus::committed);
    const bool has_synced = disk.syncs() != before;
    if (is_at_once) CHECK_FALSE(has_synced);
    at_once += is_at_once ? 1 : 0;
    synced += has_synced ? 1 : 0;
    REQUIRE(store->sync());
    store->tidy();
  }
  CHECK(at_once > 500);
  CHECK(synced > 0);  // the first after each checkpoint
}

TEST_CASE("what is large, many or no put that waits for the disk is the threads'") {
  const SlowThread slow;
  for (StoreOp op :
       {put_of({task_of(1), task_of(2)}), put_of({task_of(1)}, Durability::process),
        put_of({task_of(1, {}, 64 * 1024)}), finish_of(1, 1, TaskState::done), claim_of(1)})
    CHECK_FALSE(slow.thread->put_at_once(op));
  CHECK(slow.put(1).status == StoreStatus::committed);
}

TEST_CASE("a put that made wait is followed by one that is handed over") {
  const SlowThread slow;
  slow.store->write_takes = Duration::milliseconds(3);
  (void)slow.put(1).status;
  slow.store->write_takes = {};
  StoreOp second = put_of({task_of(2)});
  CHECK_FALSE(slow.thread->put_at_once(second));
  CHECK(slow.put(3).status == StoreStatus::committed);
}

TEST_CASE("a put at once that fails, and one whose sync fails") {
  Thread store;
  REQUIRE(store.status_of(put_of({task_of(1)})) == StoreStatus::committed);
  REQUIRE(std::get<StoreSynced>(store.next()).kept);
  const auto put = [&](std::uint64_t id) {
    StoreOp op = put_of({task_of(id)});
    for (;;) {
      if (auto done = store.thread->put_at_once(op)) {
        store.thread->begin_sync();
        return done->status;
      }
      std::this_thread::yield();  // the sync's thread tidies
    }
  };
  store.disk.fail_sync(store.disk.syncs() + 1);
  CHECK(put(2) == StoreStatus::committed);
  CHECK_FALSE(std::get<StoreSynced>(store.next()).kept);
  CHECK(put(3) == StoreStatus::failed);
  store.disk.fail_sync(0);
  CHECK(store.status_of(claim_of(1)) == StoreStatus::failed);  // told next: nothing was to be kept
}
