// THE table of what mtctl adds to each verb: description, options, examples.
#pragma once

#include <string_view>
#include <vector>

#include "ctl/verbs.h"

namespace mtd::ctl {

[[nodiscard]] const std::vector<VerbDetail>& verb_details();
// A verb without a row has no arguments and no text; a test proves that there is none.
[[nodiscard]] VerbDetail verb_detail(std::string_view name);

}  // namespace mtd::ctl
