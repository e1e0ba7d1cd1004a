#include "common/timestamp.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace mtd {
namespace {

struct Date {
  std::int64_t year;
  unsigned month, day;  // 1-based
};

constexpr bool is_leap(std::int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr std::int64_t kDaysIn400Years = 146'097;

// Proleptic Gregorian calendar. After whole periods of 400 years at most 400 years are walked.
Date date_of(std::int64_t days_since_1970) {
  std::int64_t days = days_since_1970 + 719'162;  // from 0001-01-01
  const std::int64_t periods = days / kDaysIn400Years - (days % kDaysIn400Years < 0 ? 1 : 0);
  days -= periods * kDaysIn400Years;
  std::int64_t year = 1 + periods * 400;
  for (std::int64_t length = 365; days >= length; ++year) {
    days -= length;
    length = is_leap(year + 1) ? 366 : 365;
  }
  constexpr std::array<std::int64_t, 12> kLengths{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  unsigned month = 0;
  for (; month < 11; ++month) {
    const std::int64_t length = kLengths[month] + (month == 1 && is_leap(year) ? 1 : 0);
    if (days < length) break;
    days -= length;
  }
  return {year, month + 1, static_cast<unsigned>(days + 1)};
}

}  // namespace

std::string format_timestamp(WallTime time) {
  constexpr std::int64_t kDay = 86'400;
  const std::int64_t rest = time.seconds % kDay;  // of the sign of seconds
  const std::int64_t days = time.seconds / kDay - (rest < 0 ? 1 : 0);
  const auto second = static_cast<unsigned>(rest < 0 ? rest + kDay : rest);
  const Date date = date_of(days);
  std::array<char, 64> buffer{};
  const char* format = date.year >= 0 && date.year <= 9999
                           ? "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u.%03uZ"
                           : "%+05" PRId64 "-%02u-%02uT%02u:%02u:%02u.%03uZ";
  std::snprintf(buffer.data(), buffer.size(), format, date.year, date.month, date.day,
                second / 3600, second / 60 % 60, second % 60, time.nanoseconds / 1'000'000);
  return buffer.data();
}

}  // namespace mtd
