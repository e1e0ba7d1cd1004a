// `mtctl why`: what happened to a pool and its workers, and what happens next. With `wide`
// a table of the last exits with what they used.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ctl/screen.h"

namespace mtd::ctl {

[[nodiscard]] std::string render_why(const Json& reply, bool wide, const Screen& screen);

}  // namespace mtd::ctl
