#include "ctl/completion_words.h"

#include "common/signals.h"

namespace mtd::ctl {
namespace {

std::string signal_words() {
  std::string words;
  for (int number = 1; number < 32; ++number) {
    const std::string name = signal_name({number});
    if (name.empty() || (name.front() >= '0' && name.front() <= '9')) continue;
    words += (words.empty() ? "" : " ") + name;
  }
  return words;
}

}  // namespace

std::vector<std::string> names_of(const OptionRow& row) {
  const std::size_t comma = row.names.find(',');
  if (comma == std::string_view::npos) return {std::string(row.names)};
  return {std::string(row.names.substr(0, comma)), std::string(row.names.substr(comma + 1))};
}

std::string option_words(const Verb& verb) {
  std::vector<OptionRow> rows = verb.detail.options;
  for (const OptionRow& row : common_options())
    rows.push_back(row);
  std::string words = verb.detail.all ? "--all" : "";
  for (const OptionRow& row : rows) {
    for (const std::string& name : names_of(row))
      words += (words.empty() ? "" : " ") + name;
  }
  return words;
}

std::string fixed_words(const Verb& verb, const std::vector<Verb>& verbs) {
  switch (verb.detail.words) {
    case WordKind::file_or_keyword:
      return "check show diff schema new migrate";
    case WordKind::shell:
      return "bash zsh fish";
    case WordKind::verb:
      return verb_words(verbs);
    case WordKind::signal:
      return signal_words();
    case WordKind::rollout:
      return "status pause resume undo";
    case WordKind::keyword:
      return std::string(verb.detail.keywords);
    case WordKind::none:
    case WordKind::task:
    case WordKind::selector:
    case WordKind::pool:
      return {};
  }
  return {};
}

bool completes_pools(const Verb& verb) {
  return verb.detail.words == WordKind::selector || verb.detail.words == WordKind::pool ||
         verb.detail.words == WordKind::signal || verb.detail.words == WordKind::rollout;
}

std::string verb_words(const std::vector<Verb>& verbs) {
  std::string words;
  for (const Verb& verb : verbs)
    words += (words.empty() ? "" : " ") + std::string(verb.name);
  return words;
}

std::vector<OptionRow> options_with_value(const std::vector<Verb>& verbs) {
  std::vector<OptionRow> result;
  for (const OptionRow& row : common_options()) {
    if (!row.value.empty()) result.push_back(row);
  }
  for (const Verb& verb : verbs) {
    for (const OptionRow& row : verb.detail.options) {
      if (!row.value.empty()) result.push_back(row);
    }
  }
  return result;
}

std::string shell_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text)
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

}  // namespace mtd::ctl
