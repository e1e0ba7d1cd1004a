// The daemon's status as OpenMetrics text, for Prometheus and what reads the same.
// Counters begin anew with mtd, and with reset-failed; what is not known is left out.
#pragma once

#include <string>

#include "ctl/json.h"

namespace mtd::ctl {

// `report`: as fetch_status gives it; workers are told where it has them.
[[nodiscard]] std::string metrics_text(const Json& report);

}  // namespace mtd::ctl
