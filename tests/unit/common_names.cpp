// The one name rule, and suggestions for mistyped words.
#include <doctest/doctest.h>

#include <array>
#include <string>

#include "common/names.h"

using mtd::closest_name;
using mtd::edit_distance;
using mtd::is_valid_name;

TEST_CASE("names that are fine") {
  for (const char* name : {"a", "web", "Web-1", "0", "a.b_c-d", "x.service"}) {
    CHECK_MESSAGE(is_valid_name(name), name);
  }
  CHECK(is_valid_name(std::string(64, 'a')));
}

TEST_CASE("names that could be read as something else are refused") {
  for (const char* name : {"", ".", "..", ".a", "-rf", "_a", "a/b", "../../etc/cron.d/x", "a b",
                           "a\n", "a\x1b[2J", "\xc3\xa4", "a*", "a@b", "a:b"}) {
    CHECK_MESSAGE(!is_valid_name(name), name);
  }
  CHECK(!is_valid_name(std::string("a\0b", 3)));
  CHECK(!is_valid_name(std::string(65, 'a')));
  CHECK(!is_valid_name(std::string(300, 'a')));
}

TEST_CASE("the closest word is suggested, and nothing when none is close") {
  constexpr std::array<std::string_view, 3> kWords{"workers", "max_tasks", "cwd"};
  CHECK(closest_name("max_task", kWords) == "max_tasks");
  CHECK(closest_name("worker", kWords) == "workers");
  CHECK(closest_name("cdw", kWords) == "cwd");
  CHECK(closest_name("something_else", kWords).empty());
  CHECK(closest_name(std::string(100'000, 'x'), kWords).empty());
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
}
