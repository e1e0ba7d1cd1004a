// Time stamps from 1970 to beyond the year 9999, and before.
#include <doctest/doctest.h>
#include <time.h>

#include <limits>

#include "common/timestamp.h"

using mtd::format_timestamp;
using mtd::WallTime;

TEST_CASE("well-known instants") {
  CHECK(format_timestamp(0) == "1970-01-01T00:00:00.000Z");
  CHECK(format_timestamp(951'782'400'999'999'999) == "2000-02-29T00:00:00.999Z");
  CHECK(format_timestamp(WallTime{2'147'483'648, 0}) == "2038-01-19T03:14:08.000Z");
  CHECK(format_timestamp(WallTime{4'107'542'400, 0}) == "2100-03-01T00:00:00.000Z");
  CHECK(format_timestamp(WallTime{253'402'300'799, 999'999'999}) == "9999-12-31T23:59:59.999Z");
  CHECK(format_timestamp(WallTime{253'402'300'800, 0}) == "+10000-01-01T00:00:00.000Z");
  CHECK(format_timestamp(-1) == "1969-12-31T23:59:59.999Z");
  CHECK(format_timestamp(WallTime{-62'167'219'200, 0}) == "0000-01-01T00:00:00.000Z");
  CHECK(format_timestamp(std::numeric_limits<std::int64_t>::max()) == "2262-04-11T23:47:16.854Z");
  CHECK(format_timestamp(std::numeric_limits<std::int64_t>::min()) == "1677-09-21T00:12:43.145Z");
  CHECK(!format_timestamp(WallTime{std::numeric_limits<std::int64_t>::max(), 0}).empty());
  CHECK(!format_timestamp(WallTime{std::numeric_limits<std::int64_t>::min(), 0}).empty());
}

TEST_CASE("every day of 1200 years agrees with the C library") {
  for (std::int64_t day = -146'097; day < 2 * 146'097; ++day) {
    const time_t seconds = day * 86'400 + 3'661;
    struct tm parts {};
    REQUIRE(::gmtime_r(&seconds, &parts) != nullptr);
    char expected[64];
    REQUIRE(::strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.007Z", &parts) > 0);
    REQUIRE(format_timestamp(WallTime{seconds, 7'999'999}) == expected);
  }
}
