// Durations: every unit, every boundary, every refusal.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "common/time.h"

using mtd::Duration;
using mtd::format_duration;
using mtd::format_duration_brief;
using mtd::Instant;
using mtd::parse_duration;

namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

Duration parsed(const std::string& text) {
  const auto result = parse_duration(text);
  REQUIRE_MESSAGE(result.has_value(), text);
  return *result;
}

std::string refusal(const std::string& text) {
  const auto result = parse_duration(text);
  REQUIRE_MESSAGE(!result.has_value(), text);
  return result.error().message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("durations are read in every unit") {
  CHECK(parsed("1ns").count_ns() == 1);
  CHECK(parsed("1us").count_ns() == 1'000);
  CHECK(parsed("500ms") == Duration::milliseconds(500));
  CHECK(parsed("10s") == Duration::seconds(10));
  CHECK(parsed("1m30s") == Duration::seconds(90));
  CHECK(parsed("2h") == Duration::seconds(7'200));
  CHECK(parsed("1d") == Duration::seconds(86'400));
  CHECK(parsed("1d2h3m4s5ms6us7ns").count_ns() == 93'784'005'006'007);
  CHECK(parsed("infinity").is_infinite());
}

TEST_CASE("a bare number is seconds and may have decimals") {
  CHECK(parsed("0").is_zero());
  CHECK(parsed("7") == Duration::seconds(7));
  CHECK(parsed("1.5") == Duration::milliseconds(1'500));
  CHECK(parsed("0.000000001").count_ns() == 1);
  CHECK(parsed("1.5h") == Duration::seconds(5'400));
  CHECK(parsed("0.5ns").is_zero());
  CHECK(parsed("007s") == Duration::seconds(7));
}

TEST_CASE("durations stop short of infinite") {
  CHECK(parsed("9223372036854775806ns").count_ns() == kMax - 1);
  CHECK(contains(refusal("9223372036854775807ns"), "too large"));
  CHECK(contains(refusal("9223372036854775808ms"), "too large"));
  CHECK(contains(refusal("18446744073709551616"), "too large"));
  CHECK(contains(refusal("106751d23h47m16s854ms775us807ns"), "too large"));
  CHECK(contains(refusal(std::string(400, '9')), "too large"));
  CHECK(contains(refusal("1e308"), "unknown unit \"e\""));
}

TEST_CASE("what is not a duration is refused with the reason and an example") {
  CHECK(
      refusal("10x") ==
      "\"10x\" is not a duration: unknown unit \"x\"; write it like \"500ms\", \"10s\", \"1m30s\", "
      "\"2h\", \"1d\", \"infinity\", or a number of seconds");
  CHECK(contains(refusal(""), "empty"));
  CHECK(contains(refusal("-1s"), "negative"));
  CHECK(contains(refusal("+1s"), "digit"));
  CHECK(contains(refusal("s"), "digit"));
  CHECK(contains(refusal("1."), "digit"));
  CHECK(contains(refusal(".5"), "digit"));
  CHECK(contains(refusal("1.s"), "digit"));
  CHECK(contains(refusal("1m30"), "no unit"));
  CHECK(contains(refusal("30s1m"), "larger units"));
  CHECK(contains(refusal("1s1s"), "larger units"));
  CHECK(contains(refusal("1 s"), "unknown unit"));
  CHECK(contains(refusal(" 1s"), "digit"));
  CHECK(contains(refusal("1s "), "unknown unit"));
  CHECK(contains(refusal("1S"), "unknown unit"));
  CHECK(contains(refusal("1.0000000001"), "decimals"));
  CHECK(contains(refusal("inf"), "digit"));
  CHECK(contains(refusal("NaN"), "digit"));
  CHECK(contains(refusal("\x1b[2J"), "\\x1B[2J"));
}

TEST_CASE("the exact spelling is read back as the same duration") {
  for (const std::int64_t ns :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{999}, std::int64_t{1'000},
        std::int64_t{1'500'000}, std::int64_t{999'999'999}, std::int64_t{1'000'000'000},
        std::int64_t{61'000'000'001}, std::int64_t{86'400'000'000'000}, kMax - 1, kMax}) {
    const Duration duration = Duration::nanoseconds(ns);
    CHECK(parsed(format_duration(duration)) == duration);
  }
  CHECK(format_duration(Duration()) == "0s");
  CHECK(format_duration(Duration::seconds(90)) == "1m30s");
  CHECK(format_duration(Duration::milliseconds(500)) == "500ms");
  CHECK(format_duration(Duration::milliseconds(1'500)) == "1.5s");
  CHECK(format_duration(Duration::seconds(7'200)) == "2h");
  CHECK(format_duration(Duration::nanoseconds(1'500)) == "1500ns");
  CHECK(format_duration(Duration::infinite()) == "infinity");
}

TEST_CASE("the brief spelling has at most two units") {
  CHECK(format_duration_brief(Duration()) == "0ms");
  CHECK(format_duration_brief(Duration::milliseconds(450)) == "450ms");
  CHECK(format_duration_brief(Duration::milliseconds(1'349)) == "1.3s");
  CHECK(format_duration_brief(Duration::milliseconds(9'999)) == "9.9s");
  CHECK(format_duration_brief(Duration::seconds(12)) == "12s");
  CHECK(format_duration_brief(Duration::seconds(60)) == "1m");
  CHECK(format_duration_brief(Duration::seconds(90)) == "1m30s");
  CHECK(format_duration_brief(Duration::seconds(3 * 86'400 + 4 * 3'600 + 59)) == "3d4h");
  CHECK(format_duration_brief(Duration::seconds(86'400 + 59)) == "1d");
  CHECK(format_duration_brief(Duration::infinite()) == "infinity");
}

TEST_CASE("arithmetic saturates") {
  CHECK(Duration::milliseconds(kMax).is_infinite());
  CHECK(Duration::seconds(-1).is_zero());
  CHECK((Duration::infinite() + Duration::seconds(1)).is_infinite());
  CHECK(Duration::seconds(2).scaled_by(1.5) == Duration::seconds(3));
  CHECK(Duration::seconds(2).scaled_by(1e308).is_infinite());
  CHECK(Duration::seconds(2).scaled_by(0).is_zero());
  CHECK(Duration::seconds(2).scaled_by(std::numeric_limits<double>::infinity()).is_infinite());
  CHECK(Duration::seconds(2).scaled_by(std::numeric_limits<double>::quiet_NaN()).is_zero());
  CHECK(Duration::infinite().scaled_by(0).is_infinite());
  CHECK((Instant::at_ns(kMax - 1) + Duration::seconds(1)).is_never());
  CHECK((Instant::at_ns(5) + Duration::infinite()).is_never());
  CHECK(Instant::at_ns(5).since(Instant::at_ns(9)).is_zero());
}
