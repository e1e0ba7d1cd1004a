// Plain objects: what is taken for one, and what is left to the parser.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/flat_json.h"

using mtd::FlatObject;
using mtd::FlatValue;

TEST_CASE("the members of a plain object") {
  const auto object = FlatObject::parse(
      R"({"t":"put","seq":-12,"on":true,"off":false,"none":null,"args":["a b",[1,[]],0],"s":""})");
  REQUIRE(object);
  CHECK(object->find("t")->text() == "put");
  CHECK(object->find("seq")->integer == -12);
  CHECK(object->find("on")->kind == FlatValue::Kind::boolean);
  CHECK(object->find("on")->integer == 1);
  CHECK(object->find("off")->integer == 0);
  CHECK(object->find("none")->kind == FlatValue::Kind::null);
  CHECK(object->find("args")->json == R"(["a b",[1,[]],0])");
  CHECK(object->find("s")->text().empty());
  CHECK(object->find("T") == nullptr);
  std::vector<std::string> elements;
  for_each_element(*object->find("args"),
                   [&](const FlatValue& value) { elements.emplace_back(value.json); });
  CHECK(elements == std::vector<std::string>{"\"a b\"", "[1,[]]", "0"});
  CHECK(FlatObject::parse("{}"));
}

TEST_CASE("what is not plain is left to the parser") {
  for (const char* text : {
           // JSON, but of a kind that is read by the parser
           R"({"a":{}})",
           R"({"a":"\n"})",
           "{\"a\":\"\xc3\xa4\"}",
           R"({"a":1.0})",
           R"({"a":1e3})",
           R"({"a": 1})",
           R"({"a":1} )",
           R"({"a":-0})",
           R"({"a":1234567890123456789})",
           R"({"a":[[[[[[[[[[1]]]]]]]]]]})",
           R"({"\u0061":1})",
           R"({"a":[{}]})",
           // no JSON, or none that mtd takes
           "",
           "{",
           "}",
           "[]",
           "1",
           R"({"a"})",
           R"({"a":})",
           R"({"a":1,})",
           R"({,"a":1})",
           R"({"a":1"b":2})",
           R"({"a":01})",
           R"({"a":+1})",
           R"({"a":-})",
           R"({"a":tru})",
           R"({"a":nul})",
           R"({"a":"x)",
           R"({"a":"x"}})",
           R"({"a":[1,]})",
           R"({"a":[1})",
           R"({"a":1,"a":1})",
           R"({a:1})",
           "{\"a\":\"\t\"}",
           "{\"a\":\"\x7f\"}",
           R"({"a":1x})",
       }) {
    CAPTURE(text);
    CHECK_FALSE(FlatObject::parse(text));
  }
  std::string many = "{";
  for (int i = 0; i < 25; ++i)
    many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  CHECK_FALSE(FlatObject::parse(many + "}"));
}

TEST_CASE("every beginning of an object, and every byte of it changed, is read within its bounds") {
  const std::string whole = R"({"t":"put","n":[1,"x",[true,null]],"b":-70})";
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(FlatObject::parse(std::string(whole, 0, size)));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[at] = static_cast<char>(byte);
      const auto object = FlatObject::parse(changed);
      if (object) CHECK(object->end() - object->begin() == 3);
    }
  }
}
