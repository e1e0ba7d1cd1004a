#include "daemon/supervisor/run_time_changes.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "common/names.h"

namespace mtd::supervisor {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::uint64_t kMostWorkers = 10'000;
constexpr std::uint64_t kMostUid = std::numeric_limits<std::uint32_t>::max() - 1;

Result<std::optional<std::uint32_t>> number(const json& pool, const char* member,
                                            std::uint64_t most) {
  const auto found = pool.find(member);
  if (found == pool.end()) return std::optional<std::uint32_t>();
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > most) {
    return Error{std::string(member) + " is not a number from 0 to " + std::to_string(most)};
  }
  return std::optional<std::uint32_t>(found->get<std::uint32_t>());
}

}  // namespace

std::string encode(const RunTimeChanges& changes) {
  json pools = json::object();
  for (const auto& [name, change] : changes) {
    json pool = json::object();
    if (change.want) pool["want"] = *change.want;
    if (change.stopped_by) pool["stopped_by"] = *change.stopped_by;
    if (change.enabled) pool["enabled"] = *change.enabled;
    pools[name] = std::move(pool);
  }
  return json{{"version", kVersion}, {"pools", std::move(pools)}}.dump(2) + "\n";
}

Result<RunTimeChanges> decode_run_time_changes(std::string_view text) {
  if (text.empty()) return RunTimeChanges{};
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) return Error{"it is no JSON object"};
  if (document.value("version", json()) != kVersion) {
    return Error{"its version is not " + std::to_string(kVersion)};
  }
  const auto pools = document.find("pools");
  if (pools == document.end() || !pools->is_object()) return Error{"it has no object \"pools\""};
  RunTimeChanges changes;
  for (const auto& [name, pool] : pools->items()) {
    if (!is_valid_name(name) || !pool.is_object()) return Error{"a pool in it is malformed"};
    const auto want = number(pool, "want", kMostWorkers);
    const auto stopped_by = number(pool, "stopped_by", kMostUid);
    if (!want) return want.error();
    if (!stopped_by) return stopped_by.error();
    std::optional<bool> enabled;
    if (const auto found = pool.find("enabled"); found != pool.end()) {
      if (!found->is_boolean()) return Error{"enabled is neither true nor false"};
      enabled = found->get<bool>();
    }
    changes[name] = {*want, *stopped_by, enabled};
  }
  return changes;
}

}  // namespace mtd::supervisor
