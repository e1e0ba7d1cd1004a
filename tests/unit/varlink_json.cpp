// Strict JSON: what is refused, what stays exact.
#include "common/varlink_json.h"

#include <doctest/doctest.h>

#include <string>

#include <nlohmann/json.hpp>

using mtd::varlink::parse_json;
using mtd::varlink::to_text;
using nlohmann::json;

namespace {

std::string error_of(const std::string& text) {
  const auto parsed = parse_json(text);
  return parsed ? "accepted" : parsed.error().message;
}

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i)
    all += text;
  return all;
}

}  // namespace

TEST_CASE("values come through exactly") {
  const auto parsed = parse_json(
      R"({"a":[1,-2,9223372036854775807,18446744073709551615,0.5,true,null,"\u00fc"],"b":{}})");
  REQUIRE(parsed);
  CHECK((*parsed)["a"][2].get<std::int64_t>() == 9223372036854775807);
  CHECK((*parsed)["a"][3].get<std::uint64_t>() == 18446744073709551615u);
  CHECK((*parsed)["a"][7] == "\xc3\xbc");
  CHECK(to_text(*parsed) ==
        "{\"a\":[1,-2,9223372036854775807,18446744073709551615,0.5,true,null,\"\xc3\xbc\"],"
        "\"b\":{}}");
}

TEST_CASE("depth is bounded") {
  CHECK(parse_json(repeat("[", 32) + repeat("]", 32)));
  CHECK(error_of(repeat("[", 33) + repeat("]", 33)) == "nested deeper than 32 levels");
  CHECK(error_of(repeat("[", 200'000)) == "nested deeper than 32 levels");
  CHECK(error_of(repeat("{\"a\":", 200'000)) == "nested deeper than 32 levels");
  CHECK(parse_json(repeat("{\"a\":", 31) + "{}" + repeat("}", 31)));
}

TEST_CASE("numbers are exact or refused") {
  CHECK(error_of("18446744073709551616") ==
        "the integer 18446744073709551616 does not fit 64 bits");
  CHECK(error_of("-9223372036854775809") ==
        "the integer -9223372036854775809 does not fit 64 bits");
  CHECK(error_of("1e999").find("out of range") != std::string::npos);
  CHECK(error_of("1E400").find("out of range") != std::string::npos);
  for (const char* text : {"01", "-", "NaN", "Infinity", "+1", ".5", "1.", "0x10", "1e"}) {
    CAPTURE(text);
    CHECK(error_of(text).find("not JSON") == 0);
  }
  CHECK(parse_json("-0"));
}

TEST_CASE("duplicate members are refused at every level") {
  CHECK(error_of(R"({"pool":"a","pool":"b"})") == "the member \"pool\" is given twice");
  CHECK(error_of(R"([{"x":{"y":1,"y":1}}])") == "the member \"y\" is given twice");
  CHECK(error_of(R"({"a":1,"\u0061":2})") == "the member \"a\" is given twice");
  CHECK(parse_json(R"([{"a":1},{"a":1}])"));
}

TEST_CASE("only UTF-8 without NUL, surrogates or byte order mark") {
  for (const char* text :
       {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"",
        R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")", "\"\n\"", "\"a"}) {
    CAPTURE(text);
    CHECK(error_of(text).find("not JSON") == 0);
  }
  CHECK(error_of(R"("\u0000")") == "a string contains \\u0000");
  CHECK(error_of(R"({"\u0000":1})") == "a member name contains \\u0000");
  CHECK(error_of("\xEF\xBB\xBF{}") == "begins with a byte order mark");
  CHECK(parse_json("\"\xc2\x85\xe2\x80\xa8\""));
}

TEST_CASE("one value, nothing more and nothing less") {
  for (const char* text :
       {"", " ", "   \n", "{} {}", "{}x", "{,}", "[1,]", "{\"a\"}", "// c\n{}"}) {
    CAPTURE(text);
    CHECK(error_of(text).find("not JSON") == 0);
  }
  CHECK(parse_json("  {}  "));
}

TEST_CASE("printing never throws") {
  CHECK(to_text(json("a\xff"
                     "b")) ==
        "\"a\xef\xbf\xbd"
        "b\"");
}
