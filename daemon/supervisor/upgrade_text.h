// What an upgrade in place has come to, in words.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

// "0.1.0 to 0.2.0"
[[nodiscard]] std::string versions_text(const keeper::UpgradeState& state);
// Why it failed, and what is the case now.
[[nodiscard]] std::string fault_text(const keeper::UpgradeState& state);
// As control_types.h names it; null when there was none.
[[nodiscard]] nlohmann::json upgrade_json(const keeper::UpgradeState& state);

}  // namespace mtd::supervisor
