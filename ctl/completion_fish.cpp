#include "ctl/completion.h"
#include "ctl/completion_words.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kHead = R"(# fish completion of mtctl; made by: mtctl completion fish
function __mtctl_pools
    mtctl --timeout 2s -o name status 2>/dev/null
end
complete -c mtctl -f
)";

// In single quotes fish knows \\ and \' only.
std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result + "'";
}

std::string option_line(const OptionRow& row, const std::string& condition) {
  std::string result = "complete -c mtctl" + condition;
  for (const std::string& name : names_of(row)) {
    result += name.rfind("--", 0) == 0 ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!row.choices.empty()) {
    result += " -x -a " + quoted(row.choices);
  } else if (row.value == "SOCKET" || row.value == "PATH") {
    result += " -r -F";
  } else if (!row.value.empty()) {
    result += " -x";
  }
  return result + " -d " + quoted(row.doc) + "\n";
}

std::string verb_lines(const Verb& verb, const std::vector<Verb>& verbs) {
  const std::string seen = " -n '__fish_seen_subcommand_from " + std::string(verb.name) + "'";
  std::string result;
  for (const OptionRow& row : verb.detail.options)
    result += option_line(row, seen);
  if (verb.detail.all) {
    result += option_line({"--all", "", "Every pool, instead of selectors", ""}, seen);
  }
  if (const std::string fixed = fixed_words(verb, verbs); !fixed.empty()) {
    result += "complete -c mtctl" + seen + " -a " + quoted(fixed) + "\n";
  }
  if (completes_pools(verb)) result += "complete -c mtctl" + seen + " -a '(__mtctl_pools)'\n";
  if (verb.name == "config") result += "complete -c mtctl" + seen + " -F\n";
  return result;
}

}  // namespace

std::string fish_completion(const std::vector<Verb>& verbs) {
  std::string result(kHead);
  for (const OptionRow& row : common_options())
    result += option_line(row, "");
  for (const Verb& verb : verbs) {
    result += "complete -c mtctl -n __fish_use_subcommand -a " + std::string(verb.name) + " -d " +
              quoted(verb.summary) + "\n";
  }
  for (const Verb& verb : verbs)
    result += verb_lines(verb, verbs);
  return result;
}

}  // namespace mtd::ctl
