// Calls: which members they have, what is refused, how answers look on the wire.
#include "common/varlink_message.h"

#include <doctest/doctest.h>

#include <string>

#include <nlohmann/json.hpp>

using namespace mtd::varlink;
using nlohmann::json;

namespace {

CallFault fault_of(std::string_view frame) {
  auto parsed = parse_call(frame);
  REQUIRE(std::holds_alternative<CallFault>(parsed));
  return std::get<CallFault>(parsed);
}

}  // namespace

TEST_CASE("a call") {
  auto parsed = parse_call(
      R"({"method":"io.mtd.Manager.Status","parameters":{"select":["web"]},"more":true})");
  REQUIRE(std::holds_alternative<CallMessage>(parsed));
  const auto& call = std::get<CallMessage>(parsed);
  CHECK(call.interface() == "io.mtd.Manager");
  CHECK(call.member() == "Status");
  CHECK(call.more);
  CHECK_FALSE(call.oneway);
  CHECK((*call.parameters)["select"][0] == "web");
}

TEST_CASE("parameters may be absent or null") {
  for (const char* text : {R"({"method":"a.B"})", R"({"method":"a.B","parameters":null})",
                           R"({"method":"a.B","upgrade":false,"oneway":true,"more":false})"}) {
    auto parsed = parse_call(text);
    REQUIRE(std::holds_alternative<CallMessage>(parsed));
    CHECK(*std::get<CallMessage>(parsed).parameters == json::object());
  }
}

TEST_CASE("no Varlink call at all is fatal") {
  for (const char* text : {"", "   ", "[]", "1", "\"x\"", "null", "{", "{\"a\":1,\"a\":1}"}) {
    CAPTURE(text);
    const CallFault fault = fault_of(text);
    CHECK(fault.fatal);
    CHECK(fault.parameter == "call");
  }
}

TEST_CASE("a wrong call is told what is wrong with it") {
  const auto check = [](const char* text, const char* parameter) {
    const CallFault fault = fault_of(text);
    CHECK_FALSE(fault.fatal);
    CHECK(fault.parameter == parameter);
    CHECK_FALSE(fault.message.empty());
  };
  check("{}", "method");
  check(R"({"method":""})", "method");
  check(R"({"method":1})", "method");
  check(R"({"method":"a.B","parameters":[]})", "parameters");
  check(R"({"method":"a.B","more":1})", "more");
  check(R"({"method":"a.B","oneway":"yes"})", "oneway");
  check(R"({"method":"a.B","more":true,"oneway":true})", "oneway");
  check(R"({"method":"a.B","upgrade":true,"more":true})", "upgrade");
  check(R"({"method":"a.B","upgrade":1})", "upgrade");
  check(R"({"method":"a.B","extra":1})", "extra");
}

TEST_CASE("the wire form ends with a NUL") {
  CHECK(reply_message("{}", false) == std::string("{\"parameters\":{}}\0", 18));
  CHECK(reply_message("{}", true) == std::string("{\"parameters\":{},\"continues\":true}\0", 35));
  CHECK(error_message("a.B", "{}") == std::string("{\"error\":\"a.B\",\"parameters\":{}}\0", 32));
  const std::string call = call_message("a.B", json{{"x", 1}}, true);
  CHECK(call == std::string("{\"method\":\"a.B\",\"parameters\":{\"x\":1},\"more\":true}\0", 50));
}
