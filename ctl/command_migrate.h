// config migrate FILE: a supervisord.conf in, JSON out, what could not be carried over on stderr.
#pragma once

#include <string>

#include "ctl/commands.h"

namespace mtd::ctl {

[[nodiscard]] Outcome<CtlExit> migrate_config(Context& context, const std::string& file);

}  // namespace mtd::ctl
