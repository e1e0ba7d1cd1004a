// What a spec says for the keys whose value was worked out at load, as JSON; and strings that may
// hold any byte, in JSON, without loss.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"
#include "config/keys.h"

namespace mtd::config {

// A string with markers in readable form; {"hex": "…"} where it is not valid UTF-8.
[[nodiscard]] nlohmann::json json_marked(std::string_view marked);
[[nodiscard]] nlohmann::json json_marked_list(const std::vector<std::string>& marked);
[[nodiscard]] Result<std::string> marked_from_json(const nlohmann::json& json);
// The same for a string without markers.
[[nodiscard]] nlohmann::json json_raw(std::string_view raw);
[[nodiscard]] Result<std::string> raw_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json json_command(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_directory(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_user(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_group(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_groups(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_umask(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_environment(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_listen(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_log_path(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_read_only_paths(const PoolSpec& spec, const KeyInfo& info);
[[nodiscard]] nlohmann::json json_rlimits(const PoolSpec& spec, const KeyInfo& info);

}  // namespace mtd::config
