// Completion scripts for shells, from the table of verbs. Names of pools are asked of the daemon
// when they are needed: `mtctl status -o name`.
#pragma once

#include <string>
#include <vector>

#include "ctl/verbs.h"

namespace mtd::ctl {

[[nodiscard]] std::string bash_completion(const std::vector<Verb>& verbs);
[[nodiscard]] std::string zsh_completion(const std::vector<Verb>& verbs);
[[nodiscard]] std::string fish_completion(const std::vector<Verb>& verbs);

}  // namespace mtd::ctl
