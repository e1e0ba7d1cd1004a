// Which of the two stores has a task, and what is answered at once.
#include "daemon/broker/two_stores.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <memory>
#include <vector>

using namespace mtd;
using namespace mtd::task;
using mtd::broker::TwoStores;

namespace {

StoreOp put_of(std::uint64_t id, Durability durability) {
  NewTask task;
  task.facts.id = {id};
  task.facts.durability = durability;
  StoreOp op;
  op.durability = durability;
  op.what = PutOp{{id}, "p", {task}};
  return op;
}

StoreOp finish_of(std::uint64_t id, Durability durability) {
  FinishOp finish;
  finish.id = {id};
  finish.state = TaskState::cancelled;
  StoreOp op;
  op.durability = durability;
  op.what = finish;
  return op;
}

StoreOp removal_of(std::vector<TaskId> ids) {
  StoreOp op;
  op.what = RemoveOp{std::move(ids)};
  return op;
}

// What is in memory as well serves as the disk.
struct Rig {
  Rig() {
    auto thread = StoreThread::start(std::make_unique<MemoryStore>(1 << 20));
    REQUIRE(thread);
    stores = std::make_unique<TwoStores>(std::move(*thread), 1 << 20);
  }
  std::vector<StoreDone> submit(StoreOp op) {
    std::vector<StoreOp> ops;
    ops.push_back(std::move(op));
    return stores->submit(std::move(ops));
  }
  // The next of the thread.
  StoreOutput later() {
    while (output.empty()) {
      pollfd ready{stores->fd(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, -1) == 1);
      output = stores->take();
    }
    StoreOutput first = std::move(output.front());
    output.erase(output.begin());
    return first;
  }
  std::unique_ptr<TwoStores> stores;
  std::vector<StoreOutput> output;
};

}  // namespace

TEST_CASE("tasks in memory are done at once, others by the thread") {
  Rig rig;
  const auto at_once = rig.submit(put_of(1, Durability::memory));
  REQUIRE(at_once.size() == 1);
  CHECK(at_once[0].puts == std::vector<PutOutcome>{{TaskId{1}, Existed::no}});
  CHECK(rig.submit(put_of(2, Durability::fsync)).empty());
  CHECK(std::get<StoreDone>(rig.later()).puts == std::vector<PutOutcome>{{TaskId{2}, Existed::no}});

  FindTask one;
  one.id = {1};
  const auto found = rig.stores->ask(7, one);
  REQUIRE(found);
  CHECK(found->tasks.size() == 1);
  one.id = {2};
  CHECK_FALSE(rig.stores->ask(8, one));
  CHECK(std::get<StoreReplied>(rig.later()).reply.tasks.size() == 1);
}

TEST_CASE("what is asked of all tasks is answered of both stores, in the order of ids") {
  Rig rig;
  for (const std::uint64_t id : {1U, 3U})
    (void)rig.submit(put_of(id, Durability::memory)).size();
  for (const std::uint64_t id : {2U, 4U}) {
    (void)rig.submit(put_of(id, Durability::fsync)).size();
    (void)rig.later().index();
  }
  ListTasks list;
  list.filter.limit = 3;
  CHECK_FALSE(rig.stores->ask(1, list));
  const auto listed = std::get<StoreReplied>(rig.later());
  REQUIRE(listed.reply.tasks.size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i)
    CHECK(listed.reply.tasks[i].row.facts.id == TaskId{i + 1});
  CHECK_FALSE(rig.stores->ask(2, CountTasks{}));
  const auto counted = std::get<StoreReplied>(rig.later());
  CHECK(counted.reply.counts.by_state[static_cast<std::size_t>(TaskState::waiting)] == 4);
}

TEST_CASE("a removal goes to whoever has the tasks, and is answered once") {
  Rig rig;
  (void)rig.submit(put_of(1, Durability::memory)).size();
  (void)rig.submit(finish_of(1, Durability::memory)).size();
  (void)rig.submit(put_of(2, Durability::memory)).size();
  (void)rig.submit(finish_of(2, Durability::memory)).size();
  (void)rig.submit(put_of(3, Durability::fsync)).size();
  (void)rig.submit(finish_of(3, Durability::fsync)).size();
  (void)rig.later().index();
  (void)rig.later().index();
  const auto at_once = rig.submit(removal_of({TaskId{1}}));
  REQUIRE(at_once.size() == 1);
  CHECK(at_once[0].removed == 1);
  CHECK(rig.submit(removal_of({TaskId{2}, TaskId{3}})).empty());
  CHECK(std::get<StoreDone>(rig.later()).removed == 1);
  CHECK_FALSE(rig.stores->ask(1, CountTasks{}));
  const auto counted = std::get<StoreReplied>(rig.later());
  for (const std::uint64_t left : counted.reply.counts.by_state)
    CHECK(left == 0);
}
