// What people are told about a roll-out.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "daemon/supervisor/model/pool.h"

namespace mtd::supervisor {

class PoolRunner;

[[nodiscard]] std::string_view name_of(model::RolloutState state);
// "rev 9→10: 2 of 4 updated"; "" when there is nothing to say.
[[nodiscard]] std::string rollout_note(const PoolRunner& pool, const model::PoolView& view);
// "revision 10 did not come up: web/1 ended with exit code 3"; only where one has failed.
[[nodiscard]] std::string failed_revision_text(const PoolRunner& pool, const model::PoolView& view);
// The Rollout of control_types.h.
[[nodiscard]] nlohmann::json rollout_json(const PoolRunner& pool, const model::PoolView& view);

}  // namespace mtd::supervisor
