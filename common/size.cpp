#include "common/size.h"

#include <array>
#include <cstdio>
#include <limits>

#include "common/escape.h"

namespace mtd {
namespace {

constexpr std::string_view kUnits = "BKMGTPE";  // each 1024 times the one before
constexpr std::size_t kMaxDecimals = 9;

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

Error not_a_size(std::string_view text, std::string_view why) {
  return {"\"" + escape_for_terminal(text.substr(0, 64)) + "\" is not a size: " + std::string(why) +
          "; write it like \"64K\", \"512M\", \"1.5G\", \"2T\" (1024-based), or a number of bytes"};
}

}  // namespace

Result<Size> parse_size(std::string_view text) {
  if (text.empty()) return not_a_size(text, "it is empty");
  if (text.front() == '-') return not_a_size(text, "it is negative");
  if (!is_digit(text.front())) return not_a_size(text, "a digit is missing");
  std::string_view rest = text;
  std::uint64_t whole = 0;
  for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
    if (__builtin_mul_overflow(whole, std::uint64_t{10}, &whole) ||
        __builtin_add_overflow(whole, static_cast<std::uint64_t>(rest.front() - '0'), &whole)) {
      return not_a_size(text, "it is too large (less than 16E)");
    }
  }
  std::uint64_t fraction = 0;
  std::uint64_t divisor = 1;
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    std::size_t decimals = 0;
    for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
      if (++decimals > kMaxDecimals) return not_a_size(text, "it has more than 9 decimals");
      fraction = fraction * 10 + static_cast<std::uint64_t>(rest.front() - '0');
      divisor *= 10;
    }
    if (decimals == 0) return not_a_size(text, "a digit is missing");
  }
  const std::size_t exponent = rest.empty() ? 0 : kUnits.find(rest.front());
  if (rest.size() > 1 || exponent == std::string_view::npos) {
    return not_a_size(text, "unknown unit \"" + escape_for_terminal(rest.substr(0, 16)) + "\"");
  }
  if (exponent == 0 && fraction != 0) return not_a_size(text, "there are no parts of a byte");
  const std::uint64_t unit = std::uint64_t{1} << (10 * exponent);
  std::uint64_t bytes = 0;
  // Below 2^60 the fraction (< 10^9) is applied in two steps so that nothing overflows.
  const std::uint64_t part = unit / divisor * fraction + unit % divisor * fraction / divisor;
  if (__builtin_mul_overflow(whole, unit, &bytes) || __builtin_add_overflow(bytes, part, &bytes)) {
    return not_a_size(text, "it is too large (less than 16E)");
  }
  return Size{bytes};
}

std::string format_size(Size size) {
  std::size_t exponent = 0;
  double value = static_cast<double>(size.bytes);
  while (exponent + 1 < kUnits.size() && value >= 1023.5) {
    value /= 1024;
    ++exponent;
  }
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), value < 9.95 && exponent > 0 ? "%.1f" : "%.0f",
                value);
  std::string text = buffer.data();
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text + kUnits[exponent];
}

}  // namespace mtd
