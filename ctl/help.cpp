#include "ctl/help.h"

#include <algorithm>

#include <nlohmann/json_fwd.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/display_width.h"
#include "ctl/outcome.h"

namespace mtd::ctl {
namespace {

constexpr std::size_t kLineWidth = 79;

std::string paragraphs(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t end = text.find("\n\n");
    result += "\n" + wrap_to_width(text.substr(0, end), 0, kLineWidth);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  }
  return result;
}

std::string left_of(const OptionRow& row) {
  std::string names(row.names);
  if (const std::size_t comma = names.find(','); comma != std::string::npos) {
    names.insert(comma + 1, " ");
  } else {
    names = "    " + names;
  }
  return names + (row.value.empty() ? "" : " " + std::string(row.value));
}

std::string option_lines(const std::vector<OptionRow>& rows) {
  std::size_t width = 0;
  for (const OptionRow& row : rows)
    width = std::max(width, left_of(row).size());
  std::string result;
  for (const OptionRow& row : rows) {
    const std::string doc = wrap_to_width(row.doc, width + 4, kLineWidth);
    result += "  " + pad(left_of(row), width, Align::left) + doc.substr(width + 2);
  }
  return result;
}

std::string verb_lines(const std::vector<Verb>& verbs) {
  std::size_t width = 0;
  for (const Verb& verb : verbs)
    width = std::max(width, verb.name.size());
  std::string result;
  for (const Verb& verb : verbs) {
    result += "  " + pad(verb.name, width + 2, Align::left) + std::string(verb.summary) + "\n";
  }
  return result;
}

std::vector<OptionRow> options_of(const Verb& verb) {
  std::vector<OptionRow> rows = verb.detail.options;
  if (verb.detail.all) rows.push_back({"--all", "", "Every pool, instead of selectors", ""});
  return rows;
}

constexpr std::string_view kUsage = "Usage: mtctl [OPTION…] VERB [ARGUMENT…]\n";
constexpr std::string_view kSelectors =
    "A selector SEL is a pool (web), a worker (web/3) or a pattern ('web*').\n";

}  // namespace

std::string short_help(const std::vector<Verb>& verbs) {
  return std::string(kUsage) + "\n" + verb_lines(verbs) +
         "\n'mtctl status' is a good start; 'mtctl help VERB' explains a verb.\n";
}

std::string long_help(const std::vector<Verb>& verbs) {
  std::string codes;
  for (const ExitCodeRow& row : kExitCodes) {
    codes += pad(std::to_string(static_cast<int>(row.code)), 4, Align::right) + "  " +
             std::string(row.meaning) + "\n";
  }
  return std::string(kUsage) +
         "Talks to a running mtd: shows and steers its pools of workers.\n\nVerbs:\n" +
         verb_lines(verbs) + "\n" + std::string(kSelectors) + "\nOptions:\n" +
         option_lines(common_options()) + "      --version          The same as 'mtctl version'\n" +
         "\nExit codes:\n" + codes + "\nSee mtctl(1).\n";
}

std::string verb_help(const Verb& verb) {
  std::string result = "Usage: mtctl " + std::string(verb.name);
  if (!verb.synopsis.empty()) result += " " + std::string(verb.synopsis);
  result += "\n" + std::string(verb.summary) + ".\n" + paragraphs(verb.detail.description);
  if (verb.synopsis.find("SEL") != std::string_view::npos) result += "\n" + std::string(kSelectors);
  if (const auto rows = options_of(verb); !rows.empty()) {
    result += "\nOptions:\n" + option_lines(rows);
  }
  result += "\nOptions of every verb:\n" + option_lines(common_options());
  if (!verb.detail.examples.empty()) result += "\nExamples:\n";
  std::size_t width = 0;
  for (const Example& example : verb.detail.examples)
    width = std::max(width, example.command.size());
  for (const Example& example : verb.detail.examples) {
    result += "  " + std::string(example.command);
    if (!example.does.empty()) {
      result += std::string(width - example.command.size() + 3, ' ') + std::string(example.does);
    }
    result += "\n";
  }
  return result;
}

Outcome<CtlExit> run_help(Context& context) {
  const std::vector<Verb> verbs = all_verbs();
  if (context.invocation.words.empty()) {
    context.out.write(long_help(verbs));
    return CtlExit::ok;
  }
  const Verb* verb = find_verb(verbs, context.invocation.words.front());
  if (verb == nullptr)
    return Failure{CtlExit::usage, "there is no verb '" +
                                       escape_for_terminal(context.invocation.words.front()) +
                                       "'; 'mtctl help' lists them"};
  context.out.write(verb_help(*verb));
  return CtlExit::ok;
}

}  // namespace mtd::ctl
