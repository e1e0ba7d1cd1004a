// JsonWriter against the library's own printing.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "common/json_writer.h"

using mtd::append_json_string;
using mtd::JsonWriter;
using nlohmann::json;

TEST_CASE("commas stand where they belong") {
  JsonWriter out;
  out.begin_object();
  out.key("empty");
  out.begin_object();
  out.end_object();
  out.key("list");
  out.begin_array();
  out.value(1);
  out.value("[");
  out.value(true);
  out.value(nullptr);
  out.begin_array();
  out.end_array();
  out.begin_object();
  out.member("a:", "b:");
  out.member("{", "{");
  out.end_object();
  out.end_array();
  out.member("none", std::optional<int>());
  out.member("some", std::optional<int>(-1));
  out.end_object();
  CHECK(out.text() ==
        R"({"empty":{},"list":[1,"[",true,null,[],{"a:":"b:","{":"{"}],"none":null,"some":-1})");
}

TEST_CASE("integers are exact") {
  JsonWriter out;
  out.begin_array();
  out.value(std::numeric_limits<std::int64_t>::min());
  out.value(std::numeric_limits<std::uint64_t>::max());
  out.value(std::uint32_t{0});
  out.end_array();
  CHECK(out.text() == "[-9223372036854775808,18446744073709551615,0]");
}

TEST_CASE("texts are printed as the library prints them") {
  for (const std::string& text :
       {std::string(), std::string("plain"), std::string("a\"b\\c/"),
        std::string("\n\t\x01\x1f\x7f"), std::string("\xc3\xa4\xe2\x82\xac"),
        std::string("\xff\xfe broken \xc3"), std::string("nul\0inside", 10)}) {
    for (const bool ascii : {false, true}) {
      std::string out = "x";
      append_json_string(out, text, ascii);
      CHECK(out == "x" + json(text).dump(-1, ' ', ascii, json::error_handler_t::replace));
    }
  }
}
