// Which of the two stores has a task, and what is answered at once.
#include "daemon/broker/two_stores.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/broker/store_traffic.h"
#include "tests/support/refused_calls.h"
#include "tests/support/temporary_directory.h"

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

constexpr WorkerKey kWorker{3, 9};

std::string uid_of(std::uint64_t id) {
  return "task-" + std::to_string(id);
}

StoreOp put_with_body(std::uint64_t id, std::size_t bytes) {
  StoreOp op = put_of(id, Durability::fsync);
  TaskBody body;
  body.uid = uid_of(id);
  body.args = "[" + std::to_string(id) + "]";
  body.data = std::string(bytes, 'b');
  std::get<PutOp>(op.what).tasks[0].body = std::make_shared<TaskBody>(std::move(body));
  return op;
}

StoreOp claim_of(std::uint64_t id, std::uint32_t attempt = 1) {
  StoreOp op;
  op.what = ClaimOp{TaskId{id}, attempt, kWorker, WallTime{5}};
  return op;
}

StoreOp end_of(std::uint64_t id, std::uint32_t attempt) {
  StoreOp op = finish_of(id, Durability::fsync);
  auto& finish = std::get<FinishOp>(op.what);
  finish.attempt = finish.counters.attempts = attempt;
  finish.state = TaskState::done;
  return op;
}

class Directory : public test::TemporaryDirectory {
 public:
  [[nodiscard]] std::string file() const { return path + "/claims"; }
  [[nodiscard]] sys::ClaimFile open(const char* boot = "boot", const char* life = "life") const {
    auto claims = sys::ClaimFile::open(file(), boot, life);
    REQUIRE(claims);
    return std::move(*claims);
  }
};

// One task that waits, as far as the store knows.
StoreContents waiting(std::uint64_t id, std::uint32_t attempts = 0) {
  TaskFacts facts;
  facts.id = {id};
  facts.counters.attempts = attempts;
  StoreContents contents;
  contents.pools["p"].tasks.push_back(facts);
  return contents;
}

// What is in memory as well serves as the disk.
struct Rig {
  explicit Rig(sys::ClaimFile claims = {}, StoreContents contents = {}) {
    auto thread = StoreThread::start(std::make_unique<MemoryStore>(64 << 20));
    REQUIRE(thread);
    stores = std::make_unique<TwoStores>(std::move(*thread), 1 << 20, std::move(claims));
    stores->add_claims(contents);
    recovered = std::move(contents);
  }
  // The only task of the contents it began with.
  [[nodiscard]] const TaskFacts& task() const { return recovered.pools.at("p").tasks.at(0); }
  [[nodiscard]] StoreReply ask(StoreQuestion question) {
    CHECK_FALSE(stores->ask(1, std::move(question)));
    return std::get<StoreReplied>(later()).reply;
  }
  std::vector<StoreDone> submit(StoreOp op) {
    std::vector<StoreOp> ops;
    ops.push_back(std::move(op));
    const bool is_put = std::holds_alternative<PutOp>(ops.front().what);
    const bool is_on_disk = ops.front().durability != Durability::memory;
    std::vector<StoreDone> done = stores->submit(std::move(ops));
    if (!is_put || !is_on_disk) return done;
    // At once if the threads are at rest; here in the order of the others in any case.
    for (StoreDone& one : done)
      output.emplace_back(std::move(one));
    return {};
  }
  // The next of the thread.
  StoreOutput later() {
    while (output.empty()) {
      pollfd ready{stores->fd(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, -1) == 1);
      for (StoreOutput& one : stores->take()) {
        if (!std::holds_alternative<StoreSynced>(one)) output.push_back(std::move(one));
      }
    }
    StoreOutput first = std::move(output.front());
    output.erase(output.begin());
    return first;
  }
  std::unique_ptr<TwoStores> stores;
  StoreContents recovered;
  std::vector<StoreOutput> output;
};

}  // namespace

// Puts are told as kept in the order in which they were told as written.
TEST_CASE("what is done at once is told after all that was done before it") {
  struct Host final : broker::StoreHost {
    void done(StoreDone&& done) override {
      const auto* put = std::get_if<PutOp>(&done.op.what);
      REQUIRE(put != nullptr);
      told.push_back(put->tasks.at(0).facts.id.value);
      if (told.back() == 1) then();
    }
    void synced(const StoreSynced&) override {}
    std::vector<std::uint64_t> told;
    std::function<void()> then;
  };
  const test::TemporaryDirectory directory;
  sys::EventLoop loop = *sys::EventLoop::create();
  broker::SpoolOptions options;
  options.directory = directory.path + "/parts";
  broker::PartSpool parts(options);
  auto thread = StoreThread::start(std::make_unique<MemoryStore>(64 << 20));
  REQUIRE(thread);
  Host host;
  broker::StoreTraffic traffic(host, loop, TwoStores(std::move(*thread), 1 << 20), parts);
  REQUIRE(traffic.start());
  host.then = [&traffic] {
    traffic.submit(put_of(3, Durability::memory));
    FindTask question;
    question.id = {1};
    traffic.ask(question, [](const StoreReply&) {});
  };
  traffic.submit(put_of(1, Durability::fsync));
  traffic.submit(put_of(2, Durability::fsync));
  loop.after_turn([&traffic] { traffic.end_turn(); });
  traffic.send();
  while (host.told.size() < 3)
    REQUIRE(loop.turn(Duration::infinite()));
  CHECK(host.told == std::vector<std::uint64_t>{1, 2, 3});
}

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

namespace {

// One that a client has put, a worker has done, and the client forgets.
void do_and_forget(Rig& rig, std::uint64_t id) {
  (void)rig.submit(put_with_body(id, 3)).size();
  (void)rig.later().index();
  REQUIRE(rig.submit(claim_of(id)).size() == 1);
  (void)rig.submit(end_of(id, 1)).size();
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  CHECK(rig.submit(removal_of({TaskId{id}})).size() == 1);
}

std::uint64_t done_tasks(Rig& rig) {
  const StoreReply counted = rig.ask(CountTasks{});
  return counted.counts.by_state[static_cast<std::size_t>(TaskState::done)];
}

}  // namespace

TEST_CASE("the disk forgets many together, and before it is asked") {
  const Directory directory;
  Rig rig(directory.open());
  do_and_forget(rig, 1);
  CHECK(rig.stores->is_to_forget());
  CHECK(done_tasks(rig) == 0);
  CHECK_FALSE(rig.stores->is_to_forget());
  for (std::uint64_t id = 2; id < 2 + broker::kForgottenTogether; ++id) {
    CHECK(rig.stores->is_to_forget() == (id > 2));
    do_and_forget(rig, id);
  }
  CHECK_FALSE(rig.stores->is_to_forget());
  do_and_forget(rig, 100);
  rig.stores->forget_now();
  CHECK_FALSE(rig.stores->is_to_forget());
  CHECK(done_tasks(rig) == 0);
}

TEST_CASE("a task that is to be forgotten is not taken for one of its name that is put anew") {
  const Directory directory;
  Rig rig(directory.open());
  do_and_forget(rig, 1);
  StoreOp again = put_with_body(2, 3);
  TaskBody body = *std::get<PutOp>(again.what).tasks[0].body;
  body.uid = uid_of(1);
  std::get<PutOp>(again.what).tasks[0].body = std::make_shared<TaskBody>(std::move(body));
  (void)rig.submit(std::move(again)).size();
  const StoreDone put = std::get<StoreDone>(rig.later());
  CHECK(put.puts == std::vector<PutOutcome>{{TaskId{2}, Existed::no}});
}

TEST_CASE("the file of a result is told of although its task was revived after an earlier end") {
  const Directory directory;
  Rig rig(directory.open());
  (void)rig.submit(put_with_body(1, 3)).size();
  (void)rig.later().index();
  REQUIRE(rig.submit(claim_of(1)).size() == 1);
  StoreOp dead = end_of(1, 1);
  std::get<FinishOp>(dead.what).state = TaskState::dead;
  (void)rig.submit(std::move(dead)).size();
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  SUBCASE("and is to be forgotten later") {}
  SUBCASE("and is forgotten: there is nothing to be revived") {
    (void)rig.submit(removal_of({TaskId{1}})).size();
  }
  const bool forgotten = rig.stores->is_to_forget();
  StoreOp revive;
  revive.what = ReviveOp{{}, {1}, "p", 2};
  CHECK(rig.submit(std::move(revive)).empty());
  const StoreStatus revived = std::get<StoreDone>(rig.later()).status;
  CHECK(revived == (forgotten ? StoreStatus::missing : StoreStatus::committed));
  if (forgotten) return;
  CHECK(rig.submit(claim_of(1, 2)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  StoreOp done = end_of(1, 2);
  Answer answer;
  answer.file = "1.2";
  std::get<FinishOp>(done.what).answer = std::make_shared<Answer>(std::move(answer));
  (void)rig.submit(std::move(done)).size();
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  REQUIRE(rig.submit(removal_of({TaskId{1}})).empty());
  CHECK(std::get<StoreDone>(rig.later()).files == std::vector<std::string>{"1.2"});
}

TEST_CASE("a task that was put here is claimed at once, and the store hears of it with its end") {
  const Directory directory;
  Rig rig(directory.open());
  (void)rig.submit(put_with_body(1, 3)).size();
  CHECK(rig.submit(claim_of(7)).empty());  // unknown: the store's business
  (void)rig.later().index();
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::missing);
  const auto claimed = rig.submit(claim_of(1));
  REQUIRE(claimed.size() == 1);
  CHECK(claimed[0].status == StoreStatus::committed);
  REQUIRE(claimed[0].body);
  CHECK(claimed[0].body->args == "[1]");
  CHECK(rig.submit(end_of(1, 1)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  FindTask one;
  one.id = {1};
  const StoreReply found = rig.ask(one);
  REQUIRE(found.tasks.size() == 1);
  CHECK(found.tasks[0].row.facts.state == TaskState::done);
  CHECK(found.tasks[0].row.facts.counters.attempts == 1);
}

TEST_CASE("a claim that no other attempt may follow is the store's, and waits for the disk") {
  const Directory directory;
  Rig rig(directory.open());
  (void)rig.submit(put_with_body(1, 3)).size();
  (void)rig.later().index();
  StoreOp claim = claim_of(1);
  CHECK_FALSE(needs_sync(claim));
  std::get<ClaimOp>(claim.what).only_one = true;
  CHECK(waits_for_sync(claim));
  REQUIRE(rig.submit(std::move(claim)).empty());
  const StoreDone claimed = std::get<StoreDone>(rig.later());
  CHECK(claimed.status == StoreStatus::committed);
  REQUIRE(claimed.body);
  CHECK(claimed.body->args == "[1]");
  CHECK(rig.submit(end_of(1, 1)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
}

TEST_CASE("who asks is told what was claimed, and its end comes all the same") {
  const Directory directory;
  Rig rig(directory.open());
  for (const std::uint64_t id : {1U, 2U}) {
    (void)rig.submit(put_with_body(id, 3)).size();
    (void)rig.later().index();
  }
  REQUIRE(rig.submit(claim_of(1)).size() == 1);
  for (int i = 0; i < 2; ++i) {
    ListTasks list;
    list.filter.states = {TaskState::running};
    const StoreReply running = rig.ask(list);
    REQUIRE(running.tasks.size() == 1);
    CHECK(running.tasks[0].row.facts.id == TaskId{1});
    CHECK(running.tasks[0].row.facts.worker == kWorker);
  }
  CHECK(rig.submit(end_of(1, 1)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
}

TEST_CASE("an attempt that failed is on record, and the next one is claimed by the store") {
  const Directory directory;
  Rig rig(directory.open());
  (void)rig.submit(put_with_body(1, 3)).size();
  (void)rig.later().index();
  REQUIRE(rig.submit(claim_of(1)).size() == 1);
  RequeueOp requeue;
  requeue.id = {1};
  requeue.attempt = requeue.counters.attempts = 1;
  StoreOp op;
  op.what = requeue;
  CHECK(rig.submit(std::move(op)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  CHECK(rig.submit(claim_of(1, 2)).empty());
  const StoreDone again = std::get<StoreDone>(rig.later());
  CHECK(again.status == StoreStatus::committed);
  REQUIRE(again.body);
  CHECK(again.body->args == "[1]");
}

TEST_CASE("bodies are kept for their claim up to a limit, and claims up to the file's places") {
  const Directory directory;
  Rig rig(directory.open());
  (void)rig.submit(put_with_body(1, broker::kKeptBodies)).size();
  (void)rig.later().index();
  CHECK(rig.submit(claim_of(1)).empty());
  CHECK(std::get<StoreDone>(rig.later()).body->data.size() == broker::kKeptBodies);
  for (std::uint64_t id = 2; id < 2 + sys::kClaimPlaces; ++id) {
    (void)rig.submit(put_with_body(id, 3)).size();
    (void)rig.later().index();
    REQUIRE(rig.submit(claim_of(id)).size() == 1);
  }
  const std::uint64_t last = 2 + sys::kClaimPlaces;
  (void)rig.submit(put_with_body(last, 3)).size();
  (void)rig.later().index();
  CHECK(rig.submit(claim_of(last)).empty());
  CHECK(std::get<StoreDone>(rig.later()).status == StoreStatus::committed);
  CHECK(rig.submit(end_of(2, 1)).empty());  // gives its place back
  (void)rig.later().index();
  (void)rig.submit(put_with_body(last + 1, 3)).size();
  (void)rig.later().index();
  CHECK(rig.submit(claim_of(last + 1)).size() == 1);
}

TEST_CASE("the next broker finds what was claimed with its worker") {
  const Directory directory;
  {
    Rig rig(directory.open());
    (void)rig.submit(put_with_body(1, 3)).size();
    (void)rig.later().index();
    REQUIRE(rig.submit(claim_of(1)).size() == 1);
  }
  SUBCASE("and again, until it is over") {
    for (int i = 0; i < 2; ++i) {
      const Rig next(directory.open(), waiting(1));
      CHECK(next.task().state == TaskState::running);
      CHECK(next.task().counters.attempts == 1);
      CHECK(next.task().worker == kWorker);
      CHECK(next.task().started == WallTime{5});
    }
    const Rig over(directory.open(), waiting(1, 1));
    CHECK(over.task().state == TaskState::waiting);
    // Its number means nothing from here on.
    CHECK(Rig(directory.open(), waiting(1)).task().state == TaskState::waiting);
  }
  SUBCASE("in another life of mtd with nobody") {
    for (const char* life : {"other", "life"}) {
      const Rig next(directory.open("boot", life), waiting(1));
      CHECK(next.task().state == TaskState::running);
      CHECK(next.task().worker == WorkerKey{3, 0});
    }
  }
  SUBCASE("but not after a loss of power") {
    CHECK(Rig(directory.open("next"), waiting(1)).task().state == TaskState::waiting);
    CHECK(Rig(directory.open(), waiting(1)).task().state == TaskState::waiting);
  }
  SUBCASE("but not in a file that is no such file") {
    std::filesystem::resize_file(directory.file(), 0);
    CHECK(Rig(directory.open(), waiting(1)).task().state == TaskState::waiting);
    std::filesystem::resize_file(directory.file(), 77);
    CHECK(Rig(directory.open(), waiting(1)).task().state == TaskState::waiting);
  }
}

TEST_CASE(
    "claims that cannot be read are an error; that they cannot be written costs places only") {
  const Directory directory;
  const auto opened = [&](const char* life = "life") {
    return sys::ClaimFile::open(directory.file(), "boot", life);
  };
  const auto claim_one = [&] {
    Rig rig(directory.open());
    (void)rig.submit(put_with_body(1, 3)).size();
    (void)rig.later().index();
    REQUIRE(rig.submit(claim_of(1)).size() == 1);
  };
  SUBCASE("no descriptor is left") {
    claim_one();
    {
      const test::NoDescriptors none;
      CHECK(opened().error().errno_value == EMFILE);
    }
    CHECK(Rig(directory.open(), waiting(1)).task().state == TaskState::running);
  }
  SUBCASE("something else has the name") {
    std::filesystem::create_directory(directory.file());
    CHECK_FALSE(opened());
    std::filesystem::remove(directory.file());
    std::filesystem::create_symlink("/dev/null", directory.file());
    CHECK_FALSE(opened());
  }
  SUBCASE("there is none, and none can be made") {
    const auto none = sys::ClaimFile::open(directory.path + "/no/claims", "boot", "life");
    REQUIRE(none);
    CHECK(none->trouble() == "make " + directory.path + "/no/claims: No such file or directory");
  }
  SUBCASE("it may have no bytes") {
    claim_one();
    {
      const test::NoFileSize none;
      auto unwritable = opened("other");
      REQUIRE(unwritable);
      CHECK(unwritable->left().size() == 1);  // known all the same
      CHECK(unwritable->trouble() == directory.file() + ": write it: File too large");
      unwritable->keep({});
      CHECK_FALSE(unwritable->add({2, 1, 1, 1, 1}));
    }
    CHECK(opened()->trouble().empty());
  }
}
