#include "ctl/completion.h"
#include "ctl/completion_words.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kHead = R"zsh(#compdef mtctl
# zsh completion of mtctl; made by: mtctl completion zsh
_mtctl_pools() {
  local -a pools
  pools=(${(f)"$(mtctl ${opt_args[-s]:+-s} ${opt_args[-s]} --timeout 2s -o name status 2>/dev/null)"})
  (( $#pools )) && compadd -a pools
}

)zsh";

// Text inside an _arguments specification.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string action(const OptionRow& row) {
  if (!row.choices.empty()) return "(" + std::string(row.choices) + ")";
  return row.value == "SOCKET" || row.value == "PATH" ? "_files" : " ";
}

std::string specification(const OptionRow& row, const std::string& name) {
  std::string result = name + "[" + escaped(row.doc) + "]";
  if (!row.value.empty()) result += ":" + escaped(row.value) + ":" + action(row);
  return shell_quoted(result);
}

std::string specifications(const std::vector<OptionRow>& rows, std::string_view indent) {
  std::string result;
  for (const OptionRow& row : rows) {
    for (const std::string& name : names_of(row)) {
      result += std::string(indent) + specification(row, name) + " \\\n";
    }
  }
  return result;
}

std::string words_of(const Verb& verb, const std::vector<Verb>& verbs) {
  const std::string fixed = fixed_words(verb, verbs);
  std::string result;
  if (!fixed.empty()) result += "        " + shell_quoted("1:word:(" + fixed + ")") + " \\\n";
  if (verb.name == "config") return result + "        '*:file:_files' && return ;;\n";
  if (completes_pools(verb)) return result + "        '*:pool:_mtctl_pools' && return ;;\n";
  return result + "        && return ;;\n";
}

std::string verb_case(const Verb& verb, const std::vector<Verb>& verbs) {
  std::vector<OptionRow> rows = verb.detail.options;
  if (verb.detail.all) rows.push_back({"--all", "", "Every pool, instead of selectors", ""});
  return "    " + std::string(verb.name) + ")\n      _arguments -S \\\n" +
         specifications(rows, "        ") + "        $common \\\n" + words_of(verb, verbs);
}

}  // namespace

std::string zsh_completion(const std::vector<Verb>& verbs) {
  std::string result(kHead);
  result +=
      "_mtctl() {\n  local curcontext=$curcontext state line\n  typeset -A opt_args\n"
      "  local -a common verbs\n  common=(\n";
  for (const OptionRow& row : common_options()) {
    for (const std::string& name : names_of(row))
      result += "    " + specification(row, name) + "\n";
  }
  result += "  )\n  verbs=(\n";
  for (const Verb& verb : verbs) {
    result += "    " + shell_quoted(std::string(verb.name) + ":" + escaped(verb.summary)) + "\n";
  }
  result +=
      "  )\n  _arguments -C -S $common '1:verb:->verb' '*::argument:->argument' && return\n"
      "  case $state in\n  verb) _describe -t verbs verb verbs ;;\n"
      "  argument)\n    case $words[1] in\n";
  for (const Verb& verb : verbs)
    result += verb_case(verb, verbs);
  return result +
         "    esac ;;\n  esac\n}\n\nif [[ $funcstack[1] == _mtctl ]]; then\n  _mtctl "
         "\"$@\"\nelse\n  compdef _mtctl mtctl\nfi\n";
}

}  // namespace mtd::ctl
