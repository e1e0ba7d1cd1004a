// `mtctl why`: what happened to a pool and its workers, and what happens next.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ctl/screen.h"

namespace mtd::ctl {

[[nodiscard]] std::string render_why(const Json& reply, const Screen& screen);

}  // namespace mtd::ctl
