// Answers in files: the parts that outlive a broker, order, repetition, a last one that is cut off,
// results that stay, what goes when, and the quota.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/broker/answer_assembly.h"
#include "daemon/broker/part_spool.h"
#include "tests/support/refused_calls.h"
#include "tests/support/temporary_directory.h"

using namespace mtd;
using broker::PartSpool;

namespace {

struct Directory : test::TemporaryDirectory {
  [[nodiscard]] std::string parts() const { return path + "/parts"; }
};

using Parts = std::vector<std::string>;

broker::SpoolOptions at(const Directory& directory) {
  broker::SpoolOptions options;
  options.directory = directory.parts();
  return options;
}

Parts parts_of(PartSpool& spool, std::uint64_t id, std::uint32_t attempt) {
  auto parts = spool.read({id}, attempt);
  REQUIRE(parts);
  return *parts;
}

void sort_out(PartSpool& spool) {
  for (const auto& name : spool.unknown())
    spool.is_parts(name);
}

}  // namespace

TEST_CASE("the next broker finds the parts that were taken") {
  const Directory directory;
  {
    PartSpool spool(at(directory));
    CHECK(parts_of(spool, 7, 1).empty());
    CHECK_FALSE(std::filesystem::exists(directory.parts()));
    REQUIRE(spool.add({7}, 1, 0, "a"));
    REQUIRE(spool.add({7}, 1, 1, std::string(60'000, 'b')));
    REQUIRE(spool.add({7}, 1, 1, "again"));  // nobody had taken its frame out
    REQUIRE(spool.add({7}, 2, 0, "other"));
  }
  const auto options = at(directory);
  PartSpool next(options);
  CHECK(options.bytes->load() == 3 * 16 + 60'006);
  CHECK(next.unknown().size() == 2);
  CHECK(next.kept({7}, 1).parts == 2);
  CHECK(next.kept({7}, 1).bytes == 60'001);
  CHECK(parts_of(next, 7, 1) == Parts{"a", std::string(60'000, 'b')});
  CHECK(parts_of(next, 7, 2) == Parts{"other"});
  CHECK(parts_of(next, 8, 1).empty());
  REQUIRE(next.add({7}, 1, 2, "d"));
  CHECK(next.kept({7}, 1).parts == 3);
  next.remove({7}, 1);
  CHECK(next.kept({7}, 1).parts == 0);
  next.remove_unless([](task::TaskId, std::uint32_t) { return false; });
  CHECK(std::filesystem::is_empty(directory.parts()));
  CHECK(options.bytes->load() == 0);
}

TEST_CASE("a part that is cut off anywhere does not count; what stands before it is gone on with") {
  const Directory directory;
  const std::string path = directory.parts() + "/1.1";
  std::uintmax_t first = 0, both = 0;
  {
    PartSpool spool(at(directory));
    REQUIRE(spool.add({1}, 1, 0, "first"));
    first = std::filesystem::file_size(path);
    REQUIRE(spool.add({1}, 1, 1, "second"));
    both = std::filesystem::file_size(path);
  }
  for (auto size = both - 1; size >= first; --size) {
    std::filesystem::resize_file(path, size);
    PartSpool spool(at(directory));
    CHECK(spool.kept({1}, 1).parts == 1);
    CHECK(std::filesystem::file_size(path) == first);
    REQUIRE(spool.add({1}, 1, 1, "second"));
    CHECK(parts_of(spool, 1, 1) == Parts{"first", "second"});
  }
  std::ofstream(path, std::ios::trunc) << "nonsense of somebody else's";
  PartSpool spool(at(directory));
  CHECK(spool.kept({1}, 1).parts == 0);
  REQUIRE(spool.add({1}, 1, 0, "new"));
  CHECK(parts_of(spool, 1, 1) == Parts{"new"});
}

TEST_CASE("parts that cannot be looked at are gone, and nothing is added to them") {
  const Directory directory;
  {
    PartSpool spool(at(directory));
    REQUIRE(spool.add({1}, 1, 0, "first"));
    REQUIRE(spool.add({1}, 1, 1, "second"));
  }
  const auto options = at(directory);
  PartSpool spool(options);
  {
    const test::NoDescriptors none;
    CHECK(spool.kept({1}, 1).parts == 0);
  }
  CHECK(std::filesystem::is_empty(directory.parts()));
  CHECK(options.bytes->load() == 0);
  REQUIRE(spool.add({1}, 1, 0, "anew"));
  CHECK(parts_of(spool, 1, 1) == Parts{"anew"});
}

TEST_CASE("a result stays until its task is forgotten, in this life and the next") {
  const Directory directory;
  std::string file;
  {
    PartSpool spool(at(directory));
    REQUIRE(spool.add({5}, 2, 0, "large "));
    REQUIRE(spool.add({5}, 2, 1, "result"));
    file = spool.make_result({5}, 2);
    CHECK(file == "5.2");
    spool.remove({5}, 2);  // of parts only
    spool.remove_unless([](task::TaskId, std::uint32_t) { return false; });
    auto reader = spool.open(file);
    REQUIRE(reader);
    auto piece = reader->next();
    REQUIRE(piece);
    CHECK(**piece == "large ");
    spool.remove_result(file);  // whoever reads it already has all of it
    piece = reader->next();
    REQUIRE(piece);
    CHECK(**piece == "result");
    piece = reader->next();
    REQUIRE(piece);
    CHECK_FALSE(*piece);
    CHECK(reader->parts() == 2);
    CHECK_FALSE(spool.open(file));
    REQUIRE(spool.add({5}, 2, 0, "once more"));
    (void)spool.make_result({5}, 2).size();
    REQUIRE(spool.add({6}, 1, 0, "nobody's"));
  }
  const auto options = at(directory);
  PartSpool next(options);
  for (const auto& name : next.unknown())
    name.first == 5 ? next.is_result(name) : next.is_nothing(name);
  CHECK(next.unknown().empty());
  CHECK(options.bytes->load() == 16 + 9);
  next.remove_unless([](task::TaskId, std::uint32_t) { return false; });
  CHECK(next.open("5.2"));
  CHECK_FALSE(next.open("6.1"));
  for (const char* const name : {"", "5", "../tasks.db", "5.2x", "/etc/passwd"})
    CHECK_FALSE(next.open(name));
  next.remove_result("5.2");
  CHECK(std::filesystem::is_empty(directory.parts()));
}

TEST_CASE("a result that was damaged is an error, never other bytes") {
  const Directory directory;
  PartSpool spool(at(directory));
  REQUIRE(spool.add({1}, 1, 0, std::string(100, 'x')));
  const std::string file = spool.make_result({1}, 1);
  const std::string path = directory.parts() + "/" + file;
  const auto read = [&] {
    auto reader = spool.open(file);
    return reader && reader->next();
  };
  CHECK(read());
  std::filesystem::resize_file(path, 115);
  CHECK_FALSE(read());
  std::filesystem::resize_file(path, 8);
  CHECK_FALSE(read());
  std::ofstream(path, std::ios::trunc) << std::string(200, 'y');
  CHECK_FALSE(read());
  std::filesystem::remove(path);
  CHECK_FALSE(read());
}

TEST_CASE("all files and the database together have no more bytes than the quota") {
  const Directory directory;
  auto options = at(directory);
  options.database = directory.path + "/tasks.db";
  options.quota = 1000;
  std::ofstream(options.database) << std::string(500, 'd');
  PartSpool spool(options);
  REQUIRE(spool.add({1}, 1, 0, std::string(384, 'x')));
  const auto more = spool.add({1}, 1, 1, std::string(85, 'x'));
  REQUIRE_FALSE(more);
  CHECK(more.error().message.find("tasks.quota allows") != std::string::npos);
  CHECK(spool.kept({1}, 1).parts == 1);
  REQUIRE(spool.add({1}, 1, 1, std::string(84, 'x')));
  CHECK_FALSE(spool.add({2}, 1, 0, ""));
  spool.remove({1}, 1);
  CHECK(spool.add({2}, 1, 0, std::string(484, 'x')));
}

TEST_CASE("files of other names are left alone, and no directory is an error that is told") {
  const Directory directory;
  std::filesystem::create_directory(directory.parts());
  for (const char* const name : {"1", "1.", ".1", "0.1", "1.0", "1.1x", "x.1", "-1.1"})
    std::ofstream(directory.parts() + "/" + name) << "x";
  PartSpool spool(at(directory));
  sort_out(spool);
  spool.remove_unless([](task::TaskId, std::uint32_t) { return false; });
  CHECK(std::distance(std::filesystem::directory_iterator(directory.parts()), {}) == 8);
  broker::SpoolOptions options;
  options.directory = directory.path + "/no/such";
  PartSpool nowhere(options);
  const auto added = nowhere.add({1}, 1, 0, "x");
  REQUIRE_FALSE(added);
  CHECK(added.error().message.find("/no/such") != std::string::npos);
  CHECK(PartSpool({}).add({1}, 1, 0, "x"));  // keeps nothing
}

// ---- Answers
// ----------------------------------------------------------------------------------------
namespace {

constexpr task::WorkerKey kWorker{1, 1};

struct Answers {
  explicit Answers(const broker::SpoolOptions& options) : spool(options), answers(spool) {}
  [[nodiscard]] bool takes_part(std::uint32_t part, std::size_t size = 100) {
    return answers
        .add_part(kWorker, {{7}, 1, part}, std::string(size, 'x'), {"p", kMaxInStore, false})
        .has_value();
  }
  [[nodiscard]] Result<broker::AnswerAssembly::Answer> end(std::uint32_t parts) {
    broker::AnswerFrame frame;
    frame.id = {7};
    frame.attempt = 1;
    frame.done = true;
    frame.parts = parts;
    return answers.make(kWorker, frame, std::nullopt, {"p", kMaxInStore, false});
  }
  static constexpr std::uint64_t kMaxInStore = 1000;
  PartSpool spool;
  broker::AnswerAssembly answers;
};

}  // namespace

TEST_CASE("parts that an earlier broker could not keep cost the answer, and blame nobody") {
  const Directory directory;
  auto options = at(directory);
  options.quota = 2500;
  std::uint32_t taken = 0;
  {
    Answers first(options);
    for (; taken < 30; ++taken)
      REQUIRE(first.takes_part(taken));  // more than there is room for
    CHECK(std::filesystem::is_empty(directory.parts()));
  }
  Answers next(at(directory));
  SUBCASE("more of them come") {
    next.answers.inherit(kWorker, {{7}, 1});
    REQUIRE(next.takes_part(taken));
    REQUIRE(next.takes_part(taken + 1));
    CHECK_FALSE(next.takes_part(taken + 3));  // what it leaves out now is its own fault
    const auto answer = next.end(taken + 2);
    REQUIRE(answer);
    CHECK(answer->too_big);
    CHECK(answer->content->error ==
          R"({"type":"ResultTooBig","message":"the result cannot be kept: )"
          R"(an earlier broker could not keep parts of it"})");
  }
  SUBCASE("it had taken all of them") {
    next.answers.inherit(kWorker, {{7}, 1});
    const auto answer = next.end(taken);
    REQUIRE(answer);
    CHECK(answer->too_big);
  }
  SUBCASE("but a worker that has the task from this one has left them out") {
    CHECK_FALSE(next.takes_part(taken));
    CHECK_FALSE(next.end(taken));
  }
  SUBCASE("nor may a worker leave out what has come") {
    REQUIRE(next.takes_part(0));
    CHECK_FALSE(next.end(2));
  }
}
