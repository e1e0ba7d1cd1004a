// Goals: what a call waits for, pool by pool, and how it is told when it is reached or cannot be.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "common/time.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/selection.h"

namespace mtd::supervisor {

class Supervisor;

enum class GoalKind {
  started,  // ready and proven to live; back-off, failure and an open breaker end the waiting
  ready,    // ready; waits through all of these
  stopped,
  restarted,
  reloaded,
  scaled,
  removed,
  at_once,  // nothing to wait for
};
enum class Verdict { pending, reached, failed };

struct Goal {
  GoalKind kind{};
  SelectedPool target;
  Instant since;
  std::shared_ptr<Tally> tally = std::make_shared<Tally>();
  std::map<std::uint32_t, std::uint64_t> before;  // restarted: the slots' incarnations then
  std::uint64_t revision = 0;                     // reloaded: the one that is to come up
  std::string done_text;                          // at_once, reloaded: what was done
};

struct Judgement {
  Verdict verdict = Verdict::pending;
  std::string reason;                // of failed
  Instant again = Instant::never();  // of pending: it may be reached then, though nothing happens
};

[[nodiscard]] Goal make_goal(GoalKind kind, const SelectedPool& target, PoolRunner& pool);
[[nodiscard]] Judgement judge(const Goal& goal, const Supervisor& supervisor);
// The PoolResult of control_types.h.
// Pending: it was accepted, and goes on.
[[nodiscard]] nlohmann::json result_json(const Goal& goal, const Judgement& judgement,
                                         const Supervisor& supervisor);

}  // namespace mtd::supervisor
