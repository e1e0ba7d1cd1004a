// The parts of answers that outlive a broker: order, repetition, a last one that is cut off, and
// what goes when.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/broker/part_spool.h"

using namespace mtd;
using broker::PartSpool;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/mtd-parts-XXXXXX";
    path = std::string(::mkdtemp(name));
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  [[nodiscard]] std::string parts() const { return path + "/parts"; }
  std::string path;
};

using Parts = std::vector<std::string>;

}  // namespace

TEST_CASE("the next broker finds the parts that were taken") {
  const Directory directory;
  {
    PartSpool spool(directory.parts());
    CHECK(spool.parts({7}, 1).empty());
    CHECK_FALSE(std::filesystem::exists(directory.parts()));
    REQUIRE(spool.add({7}, 1, 0, "a"));
    REQUIRE(spool.add({7}, 1, 1, std::string(60'000, 'b')));
    REQUIRE(spool.add({7}, 1, 1, "c"));  // it came again, since nobody had taken its frame out
    REQUIRE(spool.add({7}, 2, 0, "other"));
  }
  PartSpool next(directory.parts());
  CHECK(next.parts({7}, 1) == Parts{"a", "c"});
  CHECK(next.parts({7}, 2) == Parts{"other"});
  CHECK(next.parts({8}, 1).empty());
  REQUIRE(next.add({7}, 1, 2, "d"));
  CHECK(next.parts({7}, 1) == Parts{"a", "c", "d"});
  next.remove({7}, 1);
  CHECK(next.parts({7}, 1).empty());
  next.remove_unless([](task::TaskId, std::uint32_t) { return false; });
  CHECK(std::filesystem::is_empty(directory.parts()));
}

TEST_CASE("a part that is cut off anywhere does not count, and what stands before it does") {
  const Directory directory;
  PartSpool spool(directory.parts());
  REQUIRE(spool.add({1}, 1, 0, "first"));
  const std::string path = directory.parts() + "/1.1";
  const auto whole = std::filesystem::file_size(path);
  REQUIRE(spool.add({1}, 1, 1, "second"));
  for (auto size = std::filesystem::file_size(path) - 1; size >= whole; --size) {
    std::filesystem::resize_file(path, size);
    CHECK(PartSpool(directory.parts()).parts({1}, 1) == Parts{"first"});
  }
  std::ofstream(path, std::ios::trunc) << "nonsense of somebody else's";
  CHECK(PartSpool(directory.parts()).parts({1}, 1).empty());
}

TEST_CASE("files of other names are left alone, and no directory is an error that is told") {
  const Directory directory;
  std::filesystem::create_directory(directory.parts());
  for (const char* const name : {"1", "1.", ".1", "0.1", "1.0", "1.1x", "x.1", "-1.1"})
    std::ofstream(directory.parts() + "/" + name) << "x";
  PartSpool spool(directory.parts());
  spool.remove_unless([](task::TaskId, std::uint32_t) { return false; });
  CHECK(std::distance(std::filesystem::directory_iterator(directory.parts()), {}) == 8);
  PartSpool nowhere(directory.path + "/no/such");
  const auto added = nowhere.add({1}, 1, 0, "x");
  REQUIRE_FALSE(added);
  CHECK(added.error().message.find("/no/such") != std::string::npos);
  CHECK(PartSpool("").add({1}, 1, 0, "x"));  // keeps nothing
}
