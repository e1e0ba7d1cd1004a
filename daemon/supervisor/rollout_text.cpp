#include "daemon/supervisor/rollout_text.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/why_lines.h"

namespace mtd::supervisor {

using model::RolloutState;

std::string_view name_of(RolloutState state) {
  switch (state) {
    case RolloutState::none:
      return "none";
    case RolloutState::rolling:
      return "rolling";
    case RolloutState::paused:
      return "paused";
    case RolloutState::waiting:
      return "waiting";
    case RolloutState::back:
      return "back";
  }
  return "none";
}

std::string failed_revision_text(const PoolRunner& pool, const model::PoolView& view) {
  const model::RolloutView& rollout = view.rollout;
  std::string text = "revision " + std::to_string(rollout.failed) + " did not come up";
  if (!rollout.failed_slot || !rollout.failed_exit) return text;
  return text + ": " + pool.name() + "/" + std::to_string(*rollout.failed_slot) + " " +
         exit_sentence(*rollout.failed_exit);
}

std::string rollout_note(const PoolRunner& pool, const model::PoolView& view) {
  const model::RolloutView& rollout = view.rollout;
  const std::string updated = std::to_string(view.want - std::min(view.want, rollout.remaining)) +
                              " of " + std::to_string(view.want) + " updated";
  const std::string to =
      "rev " + (rollout.previous != 0 ? std::to_string(rollout.previous) + "→" : std::string()) +
      std::to_string(view.revision);
  switch (rollout.state) {
    case RolloutState::none:
      return rollout.failed == 0 ? std::string() : failed_revision_text(pool, view);
    case RolloutState::rolling:
      return to + ": " + updated;
    case RolloutState::paused:
      return to + ": paused, " + updated;
    case RolloutState::waiting:
      return to + ": waits for the workers that the roll-out before replaced to end";
    case RolloutState::back:
      if (rollout.failed == 0) return to + ": " + updated;
      return "rev " + std::to_string(rollout.failed) + " did not come up, back to rev " +
             std::to_string(view.revision) + ": " + updated;
  }
  return {};
}

nlohmann::json rollout_json(const PoolRunner& pool, const model::PoolView& view) {
  using nlohmann::json;
  const model::RolloutView& rollout = view.rollout;
  const bool failed = rollout.failed != 0;
  return {{"state", name_of(rollout.state)},
          {"to", view.revision},
          {"previous", rollout.previous != 0 ? json(rollout.previous) : json()},
          {"remaining", rollout.remaining},
          {"failures", rollout.failures},
          {"failed_revision", failed ? json(rollout.failed) : json()},
          {"failed_because", failed ? json(failed_revision_text(pool, view)) : json()}};
}

}  // namespace mtd::supervisor
