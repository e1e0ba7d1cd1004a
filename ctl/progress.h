// A call that may take long. On a terminal one line on stderr says how far it is, kept up to date
// by events and removed at the end; elsewhere nothing is printed.
#pragma once

#include <string>
#include <string_view>

#include "ctl/commands.h"
#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/session.h"

namespace mtd::ctl {

// `doing`: "waiting", "stopping". An interrupt from the keyboard ends mtctl by that signal; the
// daemon goes on with what it was asked for.
[[nodiscard]] Outcome<Json> call_with_progress(Context& context, Session& session,
                                               std::string_view method, const Json& parameters,
                                               std::string_view doing);

}  // namespace mtd::ctl
