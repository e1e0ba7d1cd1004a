// Patterns of selectors.
#include <doctest/doctest.h>

#include <string>

#include "common/glob.h"

using mtd::glob_matches;

TEST_CASE("a pattern matches the whole text") {
  CHECK(glob_matches("web", "web"));
  CHECK(!glob_matches("web", "web1"));
  CHECK(!glob_matches("web1", "web"));
  CHECK(!glob_matches("web", "Web"));
  CHECK(glob_matches("", ""));
  CHECK(!glob_matches("", "a"));
  CHECK(!glob_matches("a", ""));
}

TEST_CASE("* is any text, ? any one byte, and nothing else is special") {
  CHECK(glob_matches("*", ""));
  CHECK(glob_matches("*", "web"));
  CHECK(glob_matches("web*", "web"));
  CHECK(glob_matches("*eb", "web"));
  CHECK(glob_matches("w*b", "web"));
  CHECK(glob_matches("a*b*c", "a-b-b-c"));
  CHECK(!glob_matches("a*b*c", "a-c-b"));
  CHECK(glob_matches("**", "web"));
  CHECK(glob_matches("w?b", "web"));
  CHECK(!glob_matches("w?b", "wb"));
  CHECK(!glob_matches("?", ""));
  CHECK(glob_matches("?*?", "ab"));
  CHECK(!glob_matches("?*?", "a"));
  CHECK(!glob_matches("[w]eb", "web"));
  CHECK(!glob_matches("\\*", "*"));
  CHECK(!glob_matches("w.b", "web"));
}

TEST_CASE("a later part is looked for again from further on") {
  CHECK(glob_matches("*ab", "aab"));
  CHECK(glob_matches("*ab*", "xaxaby"));
  CHECK(glob_matches("*a?c", "abcabdaxc"));
  CHECK(!glob_matches("*ab", "aba"));
}

TEST_CASE("a pattern of many stars comes to its end") {
  std::string pattern;
  for (int i = 0; i < 500; ++i)
    pattern += "*a";
  CHECK(!glob_matches(pattern + "b", std::string(20'000, 'a')));
  CHECK(glob_matches(pattern, std::string(20'000, 'a')));
}
