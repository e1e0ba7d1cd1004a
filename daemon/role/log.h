// The log of mtd itself: synchronous, to the journal when stderr is one (with priorities), else to
// stderr with time stamps. It never waits for its reader: what a full pipe does not take is dropped
// and counted, and the count is told with the next line that fits. Untrusted text has to be escaped
// by the caller (common/escape.h).
#pragma once

#include <string>

namespace mtd::role {

// level: debug, info, warning, error.
void set_up_log(const std::string& level);
void set_log_level(const std::string& level);

}  // namespace mtd::role
