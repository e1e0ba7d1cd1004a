// Help texts, from the table of verbs.
#pragma once

#include <string>
#include <vector>

#include "ctl/verbs.h"

namespace mtd::ctl {

[[nodiscard]] std::string short_help(const std::vector<Verb>& verbs);
[[nodiscard]] std::string long_help(const std::vector<Verb>& verbs);
[[nodiscard]] std::string verb_help(const Verb& verb);

}  // namespace mtd::ctl
