#include "daemon/broker/pool_settings.h"

#include <algorithm>

#include "daemon/sys/broker_link.h"

namespace mtd::broker {
namespace {

std::optional<Duration> optional(std::int64_t ns) {
  return ns < 0 ? std::nullopt : std::optional(Duration::nanoseconds(ns));
}

Duration duration(std::int64_t ns) {
  return ns < 0 ? Duration::infinite() : Duration::nanoseconds(ns);
}

std::string mode_name(std::uint32_t mode) {
  constexpr const char* kNames[] = {"none", "task", "exec", "filter", "notify"};
  return mode < std::size(kNames) ? kNames[mode] : "task";
}

}  // namespace

QueueSettings settings_of(const Pool& pool) {
  QueueSettings settings;
  task::QueueSpec& spec = settings.spec;
  spec.pool = sys::text_in(pool.name);
  spec.timeout = optional(pool.timeout);
  spec.grace = duration(pool.grace);
  spec.max_attempts = std::max(pool.max_attempts, 1U);
  spec.retry_delay = duration(pool.retry_delay);
  spec.retry_max = duration(pool.retry_max);
  spec.max_crashes = std::max(pool.max_crashes, 1U);
  spec.max_queue = pool.max_queue;
  spec.max_queue_bytes = pool.max_queue_bytes;
  spec.on_full = pool.on_full != 0 ? task::OnFull::block : task::OnFull::refuse;
  spec.queue_timeout = optional(pool.queue_timeout);
  spec.credit = std::max(pool.credit, 1U);
  spec.durability = pool.durability == 0   ? task::Durability::fsync
                    : pool.durability == 1 ? task::Durability::process
                                           : task::Durability::memory;
  spec.result_ttl = duration(pool.result_ttl);
  spec.dead_ttl = duration(pool.dead_ttl);
  spec.on_lost = pool.on_lost != 0 ? task::OnLost::dead : task::OnLost::retry;
  settings.id = pool.id;
  settings.mode = mode_name(pool.mode);
  settings.max_body = pool.max_body;
  settings.max_result = pool.max_result;
  settings.reports_load = pool.reports_load != 0;
  return settings;
}

}  // namespace mtd::broker
