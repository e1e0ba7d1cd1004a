// What can stand on a command line, as the completion scripts need it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/verbs.h"

namespace mtd::ctl {

// "-f", "--follow" of "-f,--follow".
[[nodiscard]] std::vector<std::string> names_of(const OptionRow& row);
// "-f --follow --since …" with the common ones, and --all where the verb takes it.
[[nodiscard]] std::string option_words(const Verb& verb);
// Words that are the same everywhere: sub-commands, shells, verbs, signals; empty: pools or
// nothing.
[[nodiscard]] std::string fixed_words(const Verb& verb, const std::vector<Verb>& verbs);
[[nodiscard]] bool completes_pools(const Verb& verb);
[[nodiscard]] std::string verb_words(const std::vector<Verb>& verbs);
// Every option that takes a value, with its choices.
[[nodiscard]] std::vector<OptionRow> options_with_value(const std::vector<Verb>& verbs);
// 'it'\''s': quoted for a POSIX shell.
[[nodiscard]] std::string shell_quoted(std::string_view text);

}  // namespace mtd::ctl
