// Splitting and expansion of strings, pure.
#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "config/environment.h"
#include "config/expand.h"
#include "config/split.h"

using mtd::config::expand;
using mtd::config::Expansion;
using mtd::config::from_readable;
using mtd::config::parse_env_file;
using mtd::config::readable;
using mtd::config::split_command;

namespace {

using Words = std::vector<std::string>;

Words split(const std::string& text) {
  auto words = split_command(text);
  REQUIRE_MESSAGE(words.has_value(), text);
  return *words;
}

mtd::Result<Expansion> expanded(const std::string& text) {
  const std::map<std::string, std::string, std::less<>> known{
      {"A", "x"}, {"EMPTY", ""}, {"MARK", "a\x01s"}};
  return expand(text, "web", [&](std::string_view name) -> mtd::Result<std::optional<Expansion>> {
    const auto found = known.find(name);
    if (found == known.end()) return std::optional<Expansion>();
    return std::optional(Expansion{mtd::config::with_markers(found->second), false});
  });
}

std::string value(const std::string& text) {
  const auto result = expanded(text);
  REQUIRE_MESSAGE(result.has_value(), text);
  return result->text;
}

std::string refusal(const std::string& text) {
  const auto result = expanded(text);
  REQUIRE_MESSAGE(!result.has_value(), text);
  return result.error().message;
}

}  // namespace

TEST_CASE("a command is split as a shell would") {
  CHECK(split("a b  c") == Words{"a", "b", "c"});
  CHECK(split(" \t a\n") == Words{"a"});
  CHECK(split("a 'b c' \"d e\"") == Words{"a", "b c", "d e"});
  CHECK(split("a'b'\"c\"d") == Words{"abcd"});
  CHECK(split("'' \"\"") == Words{"", ""});
  CHECK(split("a\\ b \\' \\\"") == Words{"a b", "'", "\""});
  CHECK(split("\"a\\\"b\\\\c\\d\"") == Words{"a\"b\\c\\d"});
  CHECK(split("'a\\b\"c'") == Words{"a\\b\"c"});
  CHECK(split("${A} '${A}' \"${A}\" \\${A} \"\\${A}\"") ==
        Words{"${A}", "$${A}", "${A}", "$${A}", "$${A}"});
  CHECK(split("a|b > c; *") == Words{"a|b", ">", "c;", "*"});
  CHECK(split("").empty());
  for (const char* text : {"'a", "\"a", "a\\", "\"a\\\"", "a 'b\" c"})
    CHECK(!split_command(text));
}

TEST_CASE("variables, defaults and dollars") {
  CHECK(value("") == "");
  CHECK(value("a${A}b") == "axb");
  CHECK(value("${A}${A}") == "xx");
  CHECK(value("${NO:-d}") == "d");
  CHECK(value("${NO:-}") == "");
  CHECK(value("${EMPTY}") == "");
  CHECK(value("${EMPTY:-d}") == "d");
  CHECK(value("${A:-d}") == "x");
  CHECK(value("${NO:-a:-b}") == "a:-b");
  CHECK(value("$$") == "$");
  CHECK(value("$${A}") == "${A}");
  CHECK(value("$$$$A") == "$$A");
  CHECK(value("^a$") == "^a$");
  CHECK(value("$1 $") == "$1 $");
  CHECK(value("${MTD_POOL}") == "web");
}

TEST_CASE("what is known only at the spawn becomes a marker") {
  CHECK(value("id-${MTD_WORKER_ID}") == "id-\x01s");
  CHECK(value("${MTD_INCARNATION}") == "\x01i");
  CHECK(value("${MTD_WORKER}") == "web/\x01s");
  CHECK(value("\x01s") == "\x01ls");
  CHECK(value("${MARK}") == "a\x01ls");
  CHECK(value("${NO:-\x01}") == "\x01l");
  CHECK(expanded("${MTD_WORKER}")->per_slot);
  CHECK(!expanded("${MTD_INCARNATION}")->per_slot);
}

TEST_CASE("what cannot be expanded is refused with what would be right") {
  CHECK(refusal("${NO}") == "${NO} is not defined; define it in env, or write ${NO:-default}");
  CHECK(refusal("${A") == "${ is not closed; } is missing, or write $$ for a $");
  CHECK(refusal("${}") == "${} names no variable; write ${NAME} or ${NAME:-default}");
  CHECK(refusal("${1}") == "${1} names no variable; write ${NAME} or ${NAME:-default}");
  CHECK(refusal("${A-b}") == "${A-b} is not understood; write ${NAME} or ${NAME:-default}");
  CHECK(refusal("${NO:-${A}}") == "${NO:-${A} holds another ${…}; a default is plain text");
  CHECK(refusal("$HOME/x") == "$HOME is not expanded; write ${HOME}, or $$HOME for a $");
  CHECK(refusal("${MTD_TAG}") ==
        "${MTD_TAG} is unknown; of the variables of mtd itself there are MTD_POOL, MTD_WORKER, "
        "MTD_WORKER_ID and "
        "MTD_INCARNATION");
  CHECK(refusal(std::string(200'000, 'x')) == "is longer than 131072 bytes after expansion");
}

TEST_CASE("the readable form loses nothing") {
  for (const std::string marked :
       {"", "a", "$", "${MTD_WORKER_ID}", "\x01s", "\x01i\x01l\x01s$", "$$\x01l$"}) {
    const auto back = from_readable(readable(marked));
    REQUIRE(back.has_value());
    CHECK(*back == marked);
  }
  CHECK(readable("a\x01s$") == "a${MTD_WORKER_ID}$$");
}

TEST_CASE("files of variables") {
  const auto variables =
      parse_env_file("# note\n\nA=1\r\n B = x\nC=\"a b\"\nD='$x'\nE=\nF=a=b\nA=2");
  REQUIRE(!variables.has_value());
  CHECK(variables.error().message == "line 4: must be NAME=VALUE, not \"B = x\"");
  const auto good = parse_env_file("# note\n\nA=1\r\n  B=x  \nC=\"a b\"\nD='$x'\nE=\nF=a=b\nA=2");
  REQUIRE(good.has_value());
  CHECK(*good == mtd::config::Variables{
                     {"A", "2"}, {"B", "x"}, {"C", "a b"}, {"D", "$x"}, {"E", ""}, {"F", "a=b"}});
  CHECK(parse_env_file("A=1\n=2").error().message == "line 2: must be NAME=VALUE, not \"=2\"");
  CHECK(parse_env_file("A='x").error().message == "line 1: a quote is not closed");
  CHECK(parse_env_file("MTD_POOL=x").error().message == "line 1: MTD_POOL is set by mtd itself");
  CHECK(parse_env_file(std::string("A=\0", 3)).error().message ==
        "line 1: a NUL byte; this is no text file");
}
