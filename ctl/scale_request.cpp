#include "ctl/scale_request.h"

#include <charconv>

#include "common/escape.h"

namespace mtd::ctl {
namespace {

constexpr std::int64_t kMaxWorkers = 1'000'000;  // far beyond what a host holds

Failure usage(const std::string& message) {
  return {CtlExit::usage, message + "\nTry 'mtctl help scale'."};
}

std::optional<std::int64_t> parse_count(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < 0 || value > kMaxWorkers) return std::nullopt;
  return value;
}

Outcome<ScaleRequest> parse_one(const std::string& pool, const std::string& amount) {
  ScaleRequest request;
  request.pool = pool;
  const bool relative = !amount.empty() && (amount.front() == '+' || amount.front() == '-');
  const auto count = parse_count(relative ? std::string_view(amount).substr(1) : amount);
  if (!count) {
    return usage("'" + escape_for_terminal(amount) + "' is no number of workers up to " +
                 std::to_string(kMaxWorkers) + "; write it like 4, +2 or -1");
  }
  if (relative) {
    request.delta = amount.front() == '-' ? -*count : *count;
  } else {
    request.want = *count;
  }
  return request;
}

Outcome<std::vector<ScaleRequest>> parse_resets(const std::vector<std::string>& words) {
  std::vector<ScaleRequest> requests;
  for (const std::string& word : words) {
    if (word.find('=') != std::string::npos)
      return usage("--reset takes pools and no numbers, like: mtctl scale --reset web");
    ScaleRequest request;
    request.pool = word;
    request.reset = true;
    requests.push_back(request);
  }
  return requests;
}

Outcome<std::vector<ScaleRequest>> parse_words(const std::vector<std::string>& words) {
  std::vector<ScaleRequest> requests;
  if (words.front().find('=') == std::string::npos) {
    if (words.size() == 1)
      return usage("how many workers? For example: mtctl scale " +
                   escape_for_terminal(words.front()) + " 4");
    if (words.size() > 2)
      return usage("several pools are written with =, like: mtctl scale web=4 mail=2");
    const Outcome<ScaleRequest> request = parse_one(words[0], words[1]);
    if (!request) return request.failure();
    requests.push_back(*request);
    return requests;
  }
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return usage("'" + escape_for_terminal(word) + "' is not of the form POOL=N, like web=4");
    }
    const Outcome<ScaleRequest> request =
        parse_one(word.substr(0, equals), word.substr(equals + 1));
    if (!request) return request.failure();
    requests.push_back(*request);
  }
  return requests;
}

}  // namespace

Outcome<std::vector<ScaleRequest>> parse_scale(const Invocation& invocation) {
  Outcome<std::vector<ScaleRequest>> requests =
      invocation.has("--reset") ? parse_resets(invocation.words) : parse_words(invocation.words);
  if (!requests || !invocation.has("--current")) return requests;
  const auto current = parse_count(invocation.value("--current"));
  if (!current) return usage("--current needs a number of workers, like --current 4");
  if (requests->size() != 1) return usage("--current goes with one pool only");
  requests->front().current = *current;
  return requests;
}

}  // namespace mtd::ctl
