// `mtctl status` for people: the overview of pools, and the workers of selected ones in detail.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ctl/screen.h"

namespace mtd::ctl {

[[nodiscard]] std::string render_overview(const Json& report, bool wide, const Screen& screen);
[[nodiscard]] std::string render_detail(const Json& report, bool wide, const Screen& screen);

}  // namespace mtd::ctl
