// Run-time changes: what was written is read back; damaged text is refused as a whole. The durable
// file against the real file system.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/supervisor/run_time_changes.h"
#include "daemon/sys/durable_file.h"
#include "tests/support/temporary_directory.h"

using namespace mtd;
using namespace mtd::supervisor;

TEST_CASE("run-time changes come back as they were written") {
  RunTimeChanges changes;
  changes["web"] = {4, std::nullopt, std::nullopt};
  changes["mail"] = {std::nullopt, 1000, false};
  changes["all"] = {0, 0, true};
  const auto back = decode_run_time_changes(encode(changes));
  REQUIRE(back.has_value());
  CHECK(*back == changes);
  CHECK(decode_run_time_changes("")->empty());
}

TEST_CASE("every cut and every flipped bit of a small file is refused or harmless") {
  RunTimeChanges changes;
  changes["web"] = {4, 1000, false};
  const std::string text = encode(changes);
  for (std::size_t size = 1; size < text.size() - 1; ++size) {
    INFO("cut at ", size);
    CHECK_FALSE(decode_run_time_changes(text.substr(0, size)).has_value());
  }
  for (std::size_t at = 0; at < text.size() * 8; ++at) {
    std::string damaged = text;
    damaged[at / 8] = static_cast<char>(damaged[at / 8] ^ (1 << (at % 8)));
    const auto result = decode_run_time_changes(damaged);
    if (!result) continue;
    for (const auto& entry : *result)
      CHECK(entry.second.want.value_or(0) <= 10'000);
  }
}

TEST_CASE("hostile text is refused with a reason") {
  for (const char* text :
       {"[]", "{}", R"({"version":2,"pools":{}})", R"({"version":1})",
        R"({"version":1,"pools":[]})", R"({"version":1,"pools":{"../x":{}}})",
        R"({"version":1,"pools":{"web":3}})", R"({"version":1,"pools":{"web":{"want":-1}}})",
        R"({"version":1,"pools":{"web":{"want":1.5}}})",
        R"({"version":1,"pools":{"web":{"want":10001}}})",
        R"({"version":1,"pools":{"web":{"enabled":1}}})",
        R"({"version":1,"pools":{"web":{"stopped_by":4294967295}}})"}) {
    INFO(text);
    const auto result = decode_run_time_changes(text);
    REQUIRE_FALSE(result.has_value());
    CHECK_FALSE(result.error().message.empty());
  }
}

TEST_CASE("a durable file replaces the one before, and nothing half-written stays") {
  const test::TemporaryDirectory parent;
  const std::string directory = parent.path + "/state";
  CHECK(sys::read_durable(directory, "x", 10)->empty());
  REQUIRE(sys::write_durably(directory, "x", "one").has_value());
  REQUIRE(sys::write_durably(directory, "x", "two").has_value());
  CHECK(*sys::read_durable(directory, "x", 10) == "two");
  CHECK_FALSE(sys::read_durable(directory, "x", 2).has_value());
  struct stat status {};
  REQUIRE(::stat((directory + "/x").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    files += entry.exists() ? 1 : 0;
  CHECK(files == 1);
}

TEST_CASE("a link or a pipe in the place of the file is not followed and not waited for") {
  const test::TemporaryDirectory directory;
  REQUIRE(::symlink("/etc/passwd", (directory.path + "/link").c_str()) == 0);
  REQUIRE(::mkfifo((directory.path + "/pipe").c_str(), 0600) == 0);
  CHECK_FALSE(sys::read_durable(directory.path, "link", 1 << 20).has_value());
  CHECK_FALSE(sys::read_durable(directory.path, "pipe", 1 << 20).has_value());
  REQUIRE(sys::write_durably(directory.path, "link", "mine").has_value());
  CHECK(*sys::read_durable(directory.path, "link", 10) == "mine");
}
