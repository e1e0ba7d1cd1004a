// Sizes: 1024-based units, boundaries at 2^64, refusals.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "common/size.h"

using mtd::format_size;
using mtd::parse_size;
using mtd::Size;

namespace {

std::uint64_t parsed(const std::string& text) {
  const auto result = parse_size(text);
  REQUIRE_MESSAGE(result.has_value(), text);
  return result->bytes;
}

std::string refusal(const std::string& text) {
  const auto result = parse_size(text);
  REQUIRE_MESSAGE(!result.has_value(), text);
  return result.error().message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("sizes are read in every unit") {
  CHECK(parsed("0") == 0);
  CHECK(parsed("1") == 1);
  CHECK(parsed("12B") == 12);
  CHECK(parsed("64K") == 65'536);
  CHECK(parsed("512M") == 536'870'912);
  CHECK(parsed("1.5G") == 1'610'612'736);
  CHECK(parsed("2T") == 2'199'023'255'552);
  CHECK(parsed("1P") == 1'125'899'906'842'624);
  CHECK(parsed("15E") == 17'293'822'569'102'704'640U);
  CHECK(parsed("0.5K") == 512);
  CHECK(parsed("15.999999999E") > parsed("15.99E"));
  CHECK(parsed("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("what is not a size is refused with the reason and an example") {
  CHECK(refusal("12Q") ==
        "\"12Q\" is not a size: unknown unit \"Q\"; write it like \"64K\", \"512M\", \"1.5G\", "
        "\"2T\" "
        "(1024-based), or a number of bytes");
  CHECK(contains(refusal(""), "empty"));
  CHECK(contains(refusal("-1"), "negative"));
  CHECK(contains(refusal("+1"), "digit"));
  CHECK(contains(refusal("M"), "digit"));
  CHECK(contains(refusal("1.M"), "digit"));
  CHECK(contains(refusal("1.5"), "parts of a byte"));
  CHECK(contains(refusal("512MB"), "unknown unit \"MB\""));
  CHECK(contains(refusal("512m"), "unknown unit"));
  CHECK(contains(refusal("5 M"), "unknown unit"));
  CHECK(contains(refusal("1e9"), "unknown unit"));
  CHECK(contains(refusal("16E"), "too large"));
  CHECK(contains(refusal("18446744073709551616"), "too large"));
  CHECK(contains(refusal("99999999999999999999999"), "too large"));
  CHECK(contains(refusal("1.0000000001M"), "decimals"));
}

TEST_CASE("sizes are shown short") {
  CHECK(format_size(Size{0}) == "0B");
  CHECK(format_size(Size{12}) == "12B");
  CHECK(format_size(Size{1'023}) == "1023B");
  CHECK(format_size(Size{1'024}) == "1K");
  CHECK(format_size(Size{1'610'612'736}) == "1.5G");
  CHECK(format_size(Size{536'870'912}) == "512M");
  CHECK(format_size(Size{348'160}) == "340K");
  CHECK(format_size(Size{1'048'575}) == "1M");
  CHECK(format_size(Size{std::numeric_limits<std::uint64_t>::max()}) == "16E");
}
