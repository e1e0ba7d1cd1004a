#include "common/signals.h"

#include <signal.h>
#include <string.h>

#include <array>
#include <charconv>
#include <optional>

#include "common/escape.h"

namespace mtd {
namespace {

constexpr int kFirst = 1;
constexpr int kLast = 64;

struct Alias {
  std::string_view name;
  int value;
};
constexpr std::array kAliases{Alias{"IOT", SIGABRT}, Alias{"CLD", SIGCHLD}, Alias{"IO", SIGIO}};

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string upper_case(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

std::optional<int> real_time(std::string_view name) {
  const bool from_min = name.starts_with("RTMIN");
  if (!from_min && !name.starts_with("RTMAX")) return std::nullopt;
  const int base = from_min ? SIGRTMIN : SIGRTMAX;
  name.remove_prefix(5);
  if (name.empty()) return base;
  if (name.front() != (from_min ? '+' : '-') || name.size() > 3) return std::nullopt;
  const auto offset = whole_number(name.substr(1));
  if (!offset || *offset < 0 || *offset > SIGRTMAX - SIGRTMIN) return std::nullopt;
  return from_min ? base + *offset : base - *offset;
}

std::optional<int> named(std::string_view name) {
  for (int signal = kFirst; signal < __SIGRTMIN; ++signal) {
    const char* abbreviation = ::sigabbrev_np(signal);
    if (abbreviation != nullptr && name == abbreviation) return signal;
  }
  for (const Alias& alias : kAliases) {
    if (name == alias.name) return alias.value;
  }
  return real_time(name);
}

}  // namespace

Result<SignalNumber> parse_signal(std::string_view text) {
  if (const auto number = whole_number(text); number && *number >= kFirst && *number <= kLast) {
    return SignalNumber{*number};
  }
  const std::string upper = upper_case(text.substr(0, 32));
  std::string_view name = upper;
  if (name.starts_with("SIG")) name.remove_prefix(3);
  if (const auto signal = named(name)) return SignalNumber{*signal};
  return Error{
      "\"" + escape_for_terminal(text.substr(0, 32)) +
      "\" is not a signal; write a name like \"TERM\" or \"SIGUSR1\", \"RTMIN+3\", or a number "
      "from 1 to 64"};
}

std::string signal_name(SignalNumber signal) {
  if (signal.value >= SIGRTMIN && signal.value <= SIGRTMAX) {
    const int offset = signal.value - SIGRTMIN;
    return offset == 0 ? "RTMIN" : "RTMIN+" + std::to_string(offset);
  }
  const char* abbreviation = ::sigabbrev_np(signal.value);
  return abbreviation != nullptr ? abbreviation : std::to_string(signal.value);
}

}  // namespace mtd
