// Frames: a line, and the bytes that it announces.
#include <doctest/doctest.h>

#include <string>

#include "common/task_frames.h"

using namespace mtd;
using task_frames::announced_body;
using task_frames::first_frame;
using task_frames::frame;
using task_frames::kMaxLine;
using task_frames::kPartBytes;
using task_frames::worker_message;

namespace {

std::optional<std::uint64_t> body_of(std::string_view line) {
  const auto found = announced_body(line);
  REQUIRE(found);
  return *found;
}

}  // namespace

TEST_CASE("a frame is there when its last byte is") {
  const std::string whole = frame(R"({"t":"done","id":7})", "a\nb\0c");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto part = first_frame(std::string_view(whole).substr(0, size), 100);
    REQUIRE(part);
    CHECK_FALSE(*part);
  }
  const std::string two = whole + "{\"t\":\"beat\"}\n";
  const auto first = first_frame(two, 100);
  REQUIRE(first);
  REQUIRE(*first);
  CHECK((*first)->line == R"({"t":"done","id":7,"body":3})");
  CHECK(*(*first)->body == "a\nb");
  CHECK((*first)->size == whole.size());
  const auto second = first_frame(std::string_view(two).substr((*first)->size), 100);
  REQUIRE(second);
  REQUIRE(*second);
  CHECK_FALSE((*second)->body);
}

TEST_CASE("only the member of the object itself announces a body") {
  CHECK(body_of(R"({"body":5})") == 5U);
  CHECK(body_of(R"({"t":"x", "body" : 12 , "z":1})") == 12U);
  CHECK_FALSE(body_of(R"({"t":"x"})"));
  CHECK_FALSE(body_of(R"({"a":"body","b":["body",5]})"));
  CHECK_FALSE(body_of(R"({"a":{"body":5}})"));
  CHECK_FALSE(body_of(R"({"a":"\"body\":5","b":"},\"body\":5"})"));
  CHECK_FALSE(body_of(R"({"a":"x\\","b":["body"]})"));
  CHECK(body_of(R"({"a":{"body":5},"body":6})") == 6U);
  for (const char* wrong : {R"({"body":-1})", R"({"body":1.5})", R"({"body":"5"})", R"({"body":})",
                            R"({"body":99999999999999999999})", R"({"body":null})"}) {
    CHECK_MESSAGE(!announced_body(wrong), wrong);
  }
}

TEST_CASE("what can never become a frame is an error at once") {
  CHECK(*first_frame(std::string(kMaxLine - 1, 'x'), 10) == std::nullopt);
  CHECK_FALSE(first_frame(std::string(kMaxLine, 'x'), 10));
  CHECK_FALSE(first_frame("{\"body\":11}\n", 10));
  CHECK(first_frame("{\"body\":10}\n", 10));
}

TEST_CASE("a large body comes in parts that fit the wire, in order, and then the message") {
  std::string body(3 * kPartBytes + 5, 'x');
  body[kPartBytes] = 'y';
  const std::string text = worker_message(R"({"t":"done","id":7,"attempt":2})", 7, 2, body);
  std::string_view rest = text;
  std::string joined;
  for (int part = 0; part < 4; ++part) {
    const auto one = first_frame(rest, 1u << 20);
    REQUIRE(one);
    REQUIRE(*one);
    CHECK((*one)->size <= task_frames::kMaxWire);
    CHECK((*one)->line.starts_with(R"({"t":"part","id":7,"attempt":2,"part":)" +
                                   std::to_string(part) + ",\"of\":4,"));
    joined += *(*one)->body;
    rest.remove_prefix((*one)->size);
  }
  CHECK(joined == body);
  CHECK(rest == "{\"t\":\"done\",\"id\":7,\"attempt\":2,\"parts\":4}\n");
  CHECK(worker_message(R"({"t":"done","id":7,"attempt":2})", 7, 2, "abc") ==
        "{\"t\":\"done\",\"id\":7,\"attempt\":2,\"body\":3}\nabc");
}
