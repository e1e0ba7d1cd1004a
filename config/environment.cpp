#include "config/environment.h"

#include <algorithm>

#include "common/escape.h"
#include "common/spec_marker.h"
#include "config/scalar.h"

extern "C" char** environ;

namespace mtd::config {
namespace {

constexpr std::size_t kMaxReferences = 32;  // of variables to variables

constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Error in_line(std::size_t line, std::string_view message) {
  return {"line " + std::to_string(line) + ": " + std::string(message)};
}

Result<std::string> unquoted(std::string_view value) {
  if (value.empty() || (value.front() != '"' && value.front() != '\'')) return std::string(value);
  if (value.size() < 2 || value.back() != value.front()) {
    return Error{"a quote is not closed"};
  }
  return std::string(value.substr(1, value.size() - 2));
}

const std::string* find(const Variables& variables, std::string_view name) {
  const auto found = variables.find(name);
  return found == variables.end() ? nullptr : &found->second;
}

}  // namespace

bool is_variable_name(std::string_view name) {
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

Variables standard_variables(const Identity& identity) {
  return {{"PATH", std::string(kDefaultPath)}, {"HOME", identity.home},
          {"USER", identity.user_name},        {"LOGNAME", identity.user_name},
          {"SHELL", identity.shell},           {"LANG", "C.UTF-8"}};
}

Variables start_environment() {
  Variables variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos && equals != 0) {
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return variables;
}

Result<Variables> parse_env_file(std::string_view text) {
  Variables variables;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view content = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.empty() || content.front() == '#') continue;
    const std::size_t equals = content.find('=');
    const std::string_view name = content.substr(0, equals);
    if (equals == std::string_view::npos || !is_variable_name(name)) {
      return in_line(
          line, "must be NAME=VALUE, not \"" + escape_for_terminal(content.substr(0, 32)) + "\"");
    }
    if (is_reserved_variable(name))
      return in_line(line, std::string(name) + " is set by mtd itself");
    if (content.find('\0') != std::string_view::npos)
      return in_line(line, "a NUL byte; this is no text file");
    auto value = unquoted(content.substr(equals + 1));
    if (!value) return in_line(line, value.error().message);
    variables.insert_or_assign(std::string(name), *value);
  }
  return variables;
}

Result<Expansion> Environment::expand(std::string_view text) const {
  std::vector<std::string> open;
  return config::expand(text, pool_, [&](std::string_view name) { return lookup(name, open); });
}

Result<Expansion> Environment::own_value(std::string_view name) const {
  std::vector<std::string> open;
  return expand_own(name, open);
}

Result<Expansion> Environment::expand_own(std::string_view name,
                                          std::vector<std::string>& open) const {
  if (const auto known = known_.find(name); known != known_.end()) return known->second;
  if (open.size() >= kMaxReferences) {
    return Error{"more than " + std::to_string(kMaxReferences) +
                 " variables refer to each other in a row"};
  }
  open.emplace_back(name);
  const std::vector<std::string> texts = texts_of(*own.find(name)->second);
  auto value = config::expand(texts.empty() ? "" : texts.front(), pool_,
                              [&](std::string_view other) { return lookup(other, open); });
  open.pop_back();
  if (value) known_.emplace(name, *value);
  return value;
}

Result<std::optional<Expansion>> Environment::lookup(std::string_view name,
                                                     std::vector<std::string>& open) const {
  const bool itself = !open.empty() && open.back() == name;  // "PATH": "/opt/bin:${PATH}"
  if (!itself && own.find(name) != own.end()) {
    if (std::find(open.begin(), open.end(), name) != open.end()) {
      return Error{"${" + std::string(name.substr(0, 64)) + "} leads back to itself"};
    }
    auto value = expand_own(name, open);
    if (!value) return value.error();
    return std::optional(*value);
  }
  for (const Variables* source : {&from_file, &passed, &standard, &start}) {
    if (const std::string* value = find(*source, name)) {
      return std::optional(Expansion{with_markers(*value), false});
    }
  }
  return std::optional<Expansion>();
}

std::vector<std::string> Environment::build() const {
  std::map<std::string, std::string> all;
  for (const Variables* source : {&standard, &passed, &from_file}) {
    for (const auto& [name, value] : *source)
      all.insert_or_assign(name, with_markers(value));
  }
  for (const auto& [name, node] : own) {
    const auto value = own_value(name);
    if (value) all.insert_or_assign(name, value->text);
  }
  const std::string slot{SpecMarker::kEscape, SpecMarker::kSlot};
  all["MTD_POOL"] = pool_;
  all["MTD_WORKER_ID"] = slot;
  all["MTD_WORKER"] = pool_ + "/" + slot;
  all["MTD_INCARNATION"] = {SpecMarker::kEscape, SpecMarker::kIncarnation};
  std::vector<std::string> environment;
  for (const auto& [name, value] : all)
    environment.push_back(name + "=" + value);
  return environment;
}

}  // namespace mtd::config
