#include "config/scalar.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <thread>

#include "common/escape.h"
#include "common/size.h"
#include "config/capabilities.h"
#include "config/keys_order.h"
#include "config/scheduling.h"
#include "config/system_calls.h"

namespace mtd::config {
namespace {

Error wrong(const KeyInfo& key, const Node& node) {
  return {"must be " + key.expectation() + ", not " + brief(node)};
}

std::optional<std::int64_t> word_index(const KeyInfo& key, const Node& node) {
  const auto* text = node.as<std::string>();
  if (text == nullptr || text->empty()) return std::nullopt;
  const auto found = std::find(key.words.begin(), key.words.end(), *text);
  if (found == key.words.end()) return std::nullopt;
  return found - key.words.begin();
}

Result<Scalar> integer(const KeyInfo& key, const Node& node) {
  if (word_index(key, node)) return Scalar(std::clamp<std::int64_t>(cpu_count(), 1, kMaxWorkers));
  const auto* value = node.as<std::int64_t>();
  if (value == nullptr || *value < static_cast<std::int64_t>(key.min) ||
      *value > static_cast<std::int64_t>(key.max)) {
    return wrong(key, node);
  }
  return Scalar(*value);
}

std::optional<double> number_of(const Node& node) {
  if (const auto* value = node.as<double>()) return *value;
  if (const auto* value = node.as<std::int64_t>()) return static_cast<double>(*value);
  if (const auto* value = node.as<std::uint64_t>()) return static_cast<double>(*value);
  return std::nullopt;
}

Result<Scalar> number(const KeyInfo& key, const Node& node) {
  const auto value = number_of(node);
  if (!value || !(*value >= key.min && *value <= key.max)) return wrong(key, node);
  return Scalar(*value);
}

// A bare number is seconds; it is checked against the bounds before it is made whole nanoseconds.
Result<Duration> duration_of(const KeyInfo& key, const Node& node) {
  if (const auto* text = node.as<std::string>()) {
    const auto parsed = parse_duration(*text);
    if (!parsed) return parsed.error();
    return *parsed;
  }
  const auto seconds = number_of(node);
  if (!seconds || !(*seconds >= 0 && *seconds * 1000 <= key.max)) return wrong(key, node);
  if (const auto* whole = node.as<std::int64_t>()) return Duration::seconds(*whole);
  return Duration::nanoseconds(std::llround(*seconds * 1e9));
}

Result<Scalar> duration(const KeyInfo& key, const Node& node) {
  const auto value = duration_of(key, node);
  if (!value) return value.error();
  const bool infinite_allowed =
      std::find(key.words.begin(), key.words.end(), "infinity") != key.words.end();
  if (value->is_infinite()) {
    if (infinite_allowed) return Scalar(*value);
    return wrong(key, node);
  }
  const double ms = static_cast<double>(value->count_ns()) / 1e6;
  if (!(ms >= key.min && ms <= key.max)) return wrong(key, node);
  return Scalar(*value);
}

Result<Scalar> signal(const KeyInfo& key, const Node& node) {
  std::string text;
  if (const auto* value = node.as<std::string>()) {
    text = *value;
  } else if (const auto* number_value = node.as<std::int64_t>()) {
    text = std::to_string(*number_value);
  } else {
    return wrong(key, node);
  }
  const auto parsed = parse_signal(text);
  if (!parsed) return parsed.error();
  return Scalar(std::int64_t{parsed->value});
}

Result<Scalar> mode(const KeyInfo& key, const Node& node) {
  const auto* text = node.as<std::string>();
  const bool octal = text != nullptr && !text->empty() && text->size() <= 5 &&
                     text->find_first_not_of("01234567") == std::string::npos;
  if (!octal) return wrong(key, node);
  std::int64_t value = 0;
  for (const char digit : *text)
    value = value * 8 + (digit - '0');
  if (value > static_cast<std::int64_t>(key.max)) return wrong(key, node);
  return Scalar(value);
}

bool is_list_of_texts(const Node& node, bool may_be_empty_text) {
  const auto* array = node.as<Array>();
  return array != nullptr &&
         std::all_of(array->items.begin(), array->items.end(), [&](const Node& item) {
           const auto* text = item.as<std::string>();
           return text != nullptr && (may_be_empty_text || !text->empty());
         });
}

Result<Scalar> size(const KeyInfo& key, const Node& node) {
  std::uint64_t bytes = 0;
  if (const auto* text = node.as<std::string>()) {
    const auto parsed = parse_size(*text);
    if (!parsed) return parsed.error();
    bytes = parsed->bytes;
  } else if (const auto* value = node.as<std::int64_t>(); value != nullptr && *value >= 0) {
    bytes = static_cast<std::uint64_t>(*value);
  } else {
    return wrong(key, node);
  }
  if (bytes < static_cast<std::uint64_t>(key.min) || bytes > static_cast<std::uint64_t>(key.max))
    return wrong(key, node);
  return Scalar(static_cast<std::int64_t>(bytes));
}

Result<Scalar> percentage(const KeyInfo& key, const Node& node) {
  if (word_index(key, node)) return Scalar(std::int64_t{0});  // the one word is "off"
  const auto* text = node.as<std::string>();
  if (text == nullptr || !text->ends_with("%")) return wrong(key, node);
  std::int64_t value = -1;
  const char* const end = text->data() + text->size() - 1;
  const auto parsed = std::from_chars(text->data(), end, value);
  const bool whole = parsed.ec == std::errc{} && parsed.ptr == end;
  if (!whole || value < static_cast<std::int64_t>(key.min) ||
      value > static_cast<std::int64_t>(key.max)) {
    return wrong(key, node);
  }
  return Scalar(value);
}

Result<Scalar> io_priority(const KeyInfo& key, const Node& node) {
  const auto* text = node.as<std::string>();
  const auto priority = text == nullptr ? std::nullopt : parse_io_priority(*text);
  if (!priority) return wrong(key, node);
  return Scalar(std::int64_t{*priority});
}

Result<Scalar> capabilities(const KeyInfo& key, const Node& node) {
  if (!is_list_of_texts(node, false)) return wrong(key, node);
  std::int64_t set = 0;
  for (const std::string& name : texts_of(node)) {
    const auto number = parse_capability(name);
    if (!number) return number.error();
    set |= std::int64_t{1} << *number;
  }
  return Scalar(set);
}

Result<Scalar> system_calls(const KeyInfo& key, const Node& node) {
  if (!is_list_of_texts(node, false)) return wrong(key, node);
  std::string words;
  for (const std::string& name : texts_of(node)) {
    if (const auto known = check_system_call(name); !known) return known.error();
    words += (words.empty() ? "" : " ") + name;
  }
  return Scalar(words);
}

Result<Scalar> codes(const KeyInfo& key, const Node& node) {
  const auto* array = node.as<Array>();
  if (array == nullptr) return wrong(key, node);
  std::vector<int> values;
  for (const Node& item : array->items) {
    const auto* value = item.as<std::int64_t>();
    if (value == nullptr || *value < 0 || *value > 255) return wrong(key, node);
    values.push_back(static_cast<int>(*value));
  }
  std::sort(values.begin(), values.end());
  if (std::adjacent_find(values.begin(), values.end()) != values.end()) {
    return Error{"names an exit code twice in " + brief(node)};
  }
  return Scalar(values);
}

bool is_text(const Node& node) {
  const auto* text = node.as<std::string>();
  return text != nullptr && !text->empty();
}

bool is_environment(const Node& node) {
  const auto* object = node.as<Object>();
  return object != nullptr &&
         std::all_of(object->members.begin(), object->members.end(), [](const Node& member) {
           return member.as<std::string>() != nullptr || member.as<std::int64_t>() != nullptr ||
                  member.name.starts_with("$") || member.name.starts_with("x-");
         });
}

Result<Scalar> when(bool fits, const KeyInfo& key, const Node& node) {
  if (!fits) return wrong(key, node);
  return Scalar();
}

bool is_command(const Node& node) {
  const auto* array = node.as<Array>();
  return is_text(node) ||
         (array != nullptr && !array->items.empty() && is_list_of_texts(node, true));
}

}  // namespace

std::int64_t cpu_count() {
  const unsigned count = std::thread::hardware_concurrency();
  return std::max<std::int64_t>(1, count);
}

Result<Scalar> check_value(const KeyInfo& key, const Node& node) {
  switch (key.type) {
    case Type::boolean:
      if (const auto* value = node.as<bool>()) return Scalar(*value);
      return wrong(key, node);
    case Type::integer:
    case Type::count:
      return integer(key, node);
    case Type::number:
      return number(key, node);
    case Type::duration:
      return duration(key, node);
    case Type::word:
      if (const auto index = word_index(key, node)) return Scalar(*index);
      return wrong(key, node);
    case Type::signal:
      return signal(key, node);
    case Type::text:
    case Type::path:
      if (is_text(node)) return Scalar(*node.as<std::string>());
      return wrong(key, node);
    case Type::mode:
      return mode(key, node);
    case Type::codes:
      return codes(key, node);
    case Type::names:
      return when(is_list_of_texts(node, false), key, node);
    case Type::command:
      return when(is_command(node), key, node);
    case Type::paths:
    case Type::sockets:
      return when(is_text(node) || is_list_of_texts(node, false), key, node);
    case Type::environment:
      return when(is_environment(node), key, node);
    case Type::limits:
      return when(node.as<Object>() != nullptr, key, node);
    case Type::size:
      return size(key, node);
    case Type::percentage:
      return percentage(key, node);
    case Type::cpus:
      if (auto cpus = parse_cpu_affinity(node)) return Scalar(std::move(*cpus));
      return wrong(key, node);
    case Type::io_priority:
      return io_priority(key, node);
    case Type::capabilities:
      return capabilities(key, node);
    case Type::system_calls:
      return system_calls(key, node);
    case Type::stop_steps:
      return check_stop_steps(key, node);
    case Type::dependencies:
      return check_dependencies(key, node);
  }
  return wrong(key, node);
}

std::vector<std::string> texts_of(const Node& node) {
  if (const auto* text = node.as<std::string>()) return {*text};
  if (const auto* number = node.as<std::int64_t>()) return {std::to_string(*number)};
  std::vector<std::string> texts;
  if (const auto* array = node.as<Array>()) {
    for (const Node& item : array->items) {
      if (const auto* text = item.as<std::string>()) texts.push_back(*text);
    }
  }
  return texts;
}

}  // namespace mtd::config
