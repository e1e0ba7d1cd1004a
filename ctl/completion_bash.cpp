#include "ctl/completion.h"
#include "ctl/completion_words.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kHead = R"(# bash completion of mtctl; made by: mtctl completion bash
_mtctl_pools() {
  local socket=()
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -s | --socket) socket=(-s "${COMP_WORDS[i + 1]}") ;;
    esac
  done
  mtctl "${socket[@]}" --timeout 2s -o name status 2>/dev/null
}

_mtctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verb='' words='' given=0 i
  COMPREPLY=()
)";

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string result;
  for (const std::string& word : words)
    result += (result.empty() ? "" : std::string(separator)) + word;
  return result;
}

// Values of options: fixed choices, files for a path, nothing else.
std::string value_cases(const std::vector<Verb>& verbs) {
  std::string result = "  case $previous in\n";
  for (const OptionRow& row : options_with_value(verbs)) {
    result += "    " + joined(names_of(row), " | ") + ")\n";
    if (!row.choices.empty()) {
      result +=
          "      COMPREPLY=($(compgen -W " + shell_quoted(row.choices) + " -- \"$current\"))\n";
    } else if (row.value == "SOCKET" || row.value == "PATH") {
      result += "      COMPREPLY=($(compgen -f -- \"$current\"))\n";
    }
    result += "      return ;;\n";
  }
  return result + "  esac\n";
}

// The verb and how many words follow it so far.
std::string find_verb_lines(const std::vector<Verb>& verbs) {
  std::vector<std::string> names;
  for (const OptionRow& row : options_with_value(verbs)) {
    for (const std::string& name : names_of(row))
      names.push_back(name);
  }
  return "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n      " +
         joined(names, " | ") +
         ") ((i++)) ;;\n      -*) ;;\n"
         "      *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else ((given++)); fi ;;\n"
         "    esac\n  done\n";
}

std::string verb_case(const Verb& verb, const std::vector<Verb>& verbs) {
  std::string result = "    " + std::string(verb.name) + ")\n";
  result += "      if [[ $current == -* ]]; then words=" + shell_quoted(option_words(verb)) + "\n";
  const std::string fixed = fixed_words(verb, verbs);
  if (!fixed.empty())
    result += "      elif ((given == 0)); then words=" + shell_quoted(fixed) + "\n";
  if (verb.name == "config") {
    result += "      else COMPREPLY=($(compgen -f -- \"$current\")); return\n";
  } else if (completes_pools(verb)) {
    result += "      else words=$(_mtctl_pools)\n";
  }
  return result + "      fi ;;\n";
}

}  // namespace

std::string bash_completion(const std::vector<Verb>& verbs) {
  std::string options;
  for (const OptionRow& row : common_options())
    options += joined(names_of(row), " ") + " ";
  std::string result = std::string(kHead) + value_cases(verbs) + find_verb_lines(verbs);
  result += "  case $verb in\n    '')\n      if [[ $current == -* ]]; then words=" +
            shell_quoted(options + "--version") +
            "\n      else words=" + shell_quoted(verb_words(verbs)) + "\n      fi ;;\n";
  for (const Verb& verb : verbs)
    result += verb_case(verb, verbs);
  return result +
         "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
         "complete -F _mtctl mtctl\n";
}

}  // namespace mtd::ctl
