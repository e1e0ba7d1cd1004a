// Parameters against the signatures of the method table.
#include "common/varlink_signature.h"

#include <doctest/doctest.h>

#include <string>

#include <nlohmann/json.hpp>

#include "common/control_methods.h"

using namespace mtd::varlink;
using nlohmann::json;

namespace {

// The parameter at fault; "" when all fit.
std::string fault(const char* signature, json parameters) {
  const auto parsed = parse_signature(signature);
  REQUIRE(parsed);
  const auto found = check_parameters(*parsed, parameters);
  return found ? found->parameter : "";
}

}  // namespace

TEST_CASE("every row of the method table parses, both ways") {
  for (const auto& method : mtd::control::kMethods) {
    CAPTURE(method.name);
    CHECK(parse_signature(method.parameters));
    CHECK(parse_signature(method.reply));
  }
}

TEST_CASE("what is no signature is refused") {
  for (const char* text : {"", "(", "select: int", "(x)", "(x:)", "(x: integer)", "(: int)"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_signature(text));
  }
}

TEST_CASE("types are exact") {
  CHECK(fault("(a: int)", {{"a", 1}}) == "");
  CHECK(fault("(a: int)", {{"a", -1}}) == "");
  CHECK(fault("(a: int)", {{"a", 0.1}}) == "a");
  CHECK(fault("(a: int)", {{"a", 1.0}}) == "a");
  CHECK(fault("(a: int)", {{"a", "1"}}) == "a");
  CHECK(fault("(a: int)", {{"a", true}}) == "a");
  CHECK(fault("(a: int)", {{"a", 18446744073709551615u}}) == "a");
  CHECK(fault("(a: int)", {{"a", 9223372036854775807}}) == "");
  CHECK(fault("(a: float)", {{"a", 1}}) == "");
  CHECK(fault("(a: bool)", {{"a", 0}}) == "a");
  CHECK(fault("(a: string)", {{"a", nullptr}}) == "a");
  CHECK(fault("(a: []string)", {{"a", json::array()}}) == "");
  CHECK(fault("(a: []string)", {{"a", {"x", "y"}}}) == "");
  CHECK(fault("(a: []string)", {{"a", {"x", 1}}}) == "a");
  CHECK(fault("(a: []string)", {{"a", "x"}}) == "a");
  CHECK(fault("(a: object)", {{"a", json::array()}}) == "a");
  CHECK(fault("(a: Pool)", {{"a", json::object()}}) == "");
}

TEST_CASE("missing, null and unknown") {
  CHECK(fault("(a: int)", json::object()) == "a");
  CHECK(fault("(a: ?int)", json::object()) == "");
  CHECK(fault("(a: int)", {{"a", 1}, {"b", 1}}) == "b");
  CHECK(fault("()", {{"a", 1}}) == "a");
  json parameters{{"a", nullptr}, {"b", true}};
  CHECK_FALSE(check_parameters(*parse_signature("(a: ?[]string, b: ?bool)"), parameters));
  CHECK(parameters == json{{"b", true}});
}
