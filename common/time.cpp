#include "common/time.h"

#include <algorithm>
#include <array>
#include <optional>

#include "common/escape.h"

namespace mtd {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t ns;
};

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMinute = 60 * kSecond;
constexpr std::uint64_t kHour = 60 * kMinute;
constexpr std::uint64_t kDay = 24 * kHour;

// Largest first: a unit may only be followed by a smaller one.
constexpr std::array kUnits{Unit{"d", kDay},    Unit{"h", kHour},      Unit{"m", kMinute},
                            Unit{"s", kSecond}, Unit{"ms", 1'000'000}, Unit{"us", 1'000},
                            Unit{"ns", 1}};

constexpr std::uint64_t kLimit =
    static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
constexpr std::size_t kMaxDecimals = 9;

constexpr std::string_view kNumeric = "0123456789.";

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

Error not_a_duration(std::string_view text, std::string_view why) {
  return {
      "\"" + escape_for_terminal(text.substr(0, 64)) + "\" is not a duration: " + std::string(why) +
      "; write it like \"500ms\", \"10s\", \"1m30s\", \"2h\", \"1d\", \"infinity\", or a number "
      "of seconds"};
}

struct Number {
  std::uint64_t whole = 0;
  std::uint64_t billionths = 0;
};

enum class Flaw { none, no_digit, too_large, too_fine };

// Takes "12" or "1.25" from the front of `rest`.
Flaw take_number(std::string_view& rest, Number& number) {
  if (rest.empty() || !is_digit(rest.front())) return Flaw::no_digit;
  while (!rest.empty() && is_digit(rest.front())) {
    if (__builtin_mul_overflow(number.whole, std::uint64_t{10}, &number.whole) ||
        __builtin_add_overflow(number.whole, static_cast<std::uint64_t>(rest.front() - '0'),
                               &number.whole)) {
      return Flaw::too_large;
    }
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest.front() != '.') return Flaw::none;
  rest.remove_prefix(1);
  std::size_t decimals = 0;
  std::uint64_t weight = kSecond / 10;
  for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
    if (++decimals > kMaxDecimals) return Flaw::too_fine;
    number.billionths += weight * static_cast<std::uint64_t>(rest.front() - '0');
    weight /= 10;
  }
  return decimals == 0 ? Flaw::no_digit : Flaw::none;
}

const Unit* take_unit(std::string_view& rest) {
  std::size_t length = 0;
  while (length < rest.size() && !is_digit(rest[length]) && rest[length] != '.')
    ++length;
  for (const Unit& unit : kUnits) {
    if (rest.substr(0, length) == unit.name) {
      rest.remove_prefix(length);
      return &unit;
    }
  }
  return nullptr;
}

// Empty when the sum does not fit below infinite.
std::optional<std::uint64_t> add(std::uint64_t sum, const Number& number, std::uint64_t unit_ns) {
  std::uint64_t ns = 0;
  if (__builtin_mul_overflow(number.whole, unit_ns, &ns)) return std::nullopt;
  // billionths × unit fits after splitting the unit at 10^9: billionths < 10^9, unit < 10^14.
  const std::uint64_t fraction =
      number.billionths * (unit_ns / kSecond) + number.billionths * (unit_ns % kSecond) / kSecond;
  if (__builtin_add_overflow(ns, fraction, &ns) || __builtin_add_overflow(ns, sum, &ns)) {
    return std::nullopt;
  }
  if (ns >= kLimit) return std::nullopt;
  return ns;
}

std::string_view describe(Flaw flaw) {
  switch (flaw) {
    case Flaw::none:
      break;
    case Flaw::no_digit:
      return "a digit is missing";
    case Flaw::too_large:
      return "it is too large (at most 292 years)";
    case Flaw::too_fine:
      return "it has more than 9 decimals";
  }
  return "";
}

std::string decimal(std::uint64_t whole, std::uint64_t billionths) {
  std::string text = std::to_string(whole);
  if (billionths == 0) return text;
  std::string decimals = std::to_string(kSecond + billionths).substr(1);
  decimals.erase(decimals.find_last_not_of('0') + 1);
  return text + "." + decimals;
}

}  // namespace

Duration Duration::scaled_by(double factor) const {
  if (is_infinite()) return infinite();
  if (!(factor > 0)) return Duration(0);
  const double product = static_cast<double>(ns_) * factor;
  if (!(product < static_cast<double>(kInfinite))) return infinite();
  return Duration(static_cast<std::int64_t>(product));
}

Result<Duration> parse_duration(std::string_view text) {
  if (text == "infinity") return Duration::infinite();
  if (text.empty()) return not_a_duration(text, "it is empty");
  if (text.front() == '-') return not_a_duration(text, "it is negative");
  std::string_view rest = text;
  std::uint64_t sum = 0;
  const Unit* last = nullptr;
  while (!rest.empty()) {
    Number number;
    if (const Flaw flaw = take_number(rest, number); flaw != Flaw::none) {
      return not_a_duration(text, describe(flaw));
    }
    const Unit* unit = &kUnits[3];
    if (rest.empty()) {
      if (last != nullptr) return not_a_duration(text, "the last number has no unit");
    } else if (unit = take_unit(rest); unit == nullptr) {
      return not_a_duration(
          text, "unknown unit \"" +
                    escape_for_terminal(
                        rest.substr(0, std::min<std::size_t>(16, rest.find_first_of(kNumeric)))) +
                    "\"");
    }
    if (last != nullptr && unit <= last) return not_a_duration(text, "larger units come first");
    last = unit;
    const auto total = add(sum, number, unit->ns);
    if (!total) return not_a_duration(text, describe(Flaw::too_large));
    sum = *total;
  }
  return Duration::nanoseconds(static_cast<std::int64_t>(sum));
}

std::string format_duration(Duration duration) {
  if (duration.is_infinite()) return "infinity";
  if (duration.is_zero()) return "0s";
  auto rest = static_cast<std::uint64_t>(duration.count_ns());
  if (rest < kSecond) {
    for (const Unit& unit : kUnits) {
      if (rest % unit.ns == 0) return std::to_string(rest / unit.ns) + std::string(unit.name);
    }
  }
  std::string text;
  for (const Unit& unit : kUnits) {
    if (unit.ns <= kSecond) break;
    if (rest >= unit.ns) text += std::to_string(rest / unit.ns) + std::string(unit.name);
    rest %= unit.ns;
  }
  if (rest != 0) text += decimal(rest / kSecond, rest % kSecond) + "s";
  return text;
}

std::string format_duration_brief(Duration duration) {
  if (duration.is_infinite()) return "infinity";
  const auto ns = static_cast<std::uint64_t>(duration.count_ns());
  if (ns < kSecond) return std::to_string(ns / 1'000'000) + "ms";
  if (ns < 10 * kSecond) {
    return decimal(ns / kSecond, ns % kSecond / 100'000'000 * 100'000'000) + "s";
  }
  for (std::size_t i = 0; i < 3; ++i) {
    if (ns < kUnits[i].ns) continue;
    const std::uint64_t next = ns % kUnits[i].ns / kUnits[i + 1].ns;
    std::string text = std::to_string(ns / kUnits[i].ns) + std::string(kUnits[i].name);
    return next == 0 ? text : text + std::to_string(next) + std::string(kUnits[i + 1].name);
  }
  return std::to_string(ns / kSecond) + "s";
}

}  // namespace mtd
