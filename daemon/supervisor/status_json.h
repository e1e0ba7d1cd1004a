// Views as JSON, in the members that control_types.h names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "common/time.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/sleep_log.h"

namespace mtd::supervisor {

class PoolRunner;
class Supervisor;

// Both clocks, read once for an answer.
struct Moment {
  Instant now;
  std::int64_t realtime_ns = 0;
  const SleepLog* sleeps = nullptr;  // of the machine; null: none is known
  // For people: how long ago that was, sleeps of the machine included.
  [[nodiscard]] Duration age(Instant at) const;
  // For people: when that reading of the monotonic clock was.
  [[nodiscard]] std::string timestamp(Instant at) const;
};
[[nodiscard]] Moment this_moment(const SleepLog* sleeps = nullptr);
// "limits.processes is reached": why a dynamic pool does not grow.
[[nodiscard]] std::string_view restraint_text(model::Restraint restraint);
// "connection", "task": what a pool without workers waits for.
[[nodiscard]] std::string_view demand_text(const config::PoolSpec& spec);

[[nodiscard]] nlohmann::json exit_json(const PoolRunner& pool, std::uint32_t slot,
                                       const model::ExitRecord& exit, const Moment& moment);
// With all its exits that are known.
[[nodiscard]] nlohmann::json worker_json(const PoolRunner& pool, const model::SlotView& slot,
                                         const Moment& moment);
[[nodiscard]] nlohmann::json pool_json(const PoolRunner& pool, const Moment& moment);
[[nodiscard]] nlohmann::json daemon_json(const Supervisor& supervisor, const Moment& moment);
// The next thing that will happen, and when; "" when nothing is remarkable.
[[nodiscard]] std::string note_of(const PoolRunner& pool, const model::PoolView& view,
                                  const Moment& moment);

}  // namespace mtd::supervisor
