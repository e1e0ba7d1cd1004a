// Reads a configuration from files: strict, all errors at once, nothing half-applied.
// May block on a disk or a name service: the supervisor calls it only in a short-lived child.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "common/result.h"
#include "config/pool_spec.h"

namespace mtd::config {

struct Problem {
  std::string file;
  std::uint32_t line = 0, column = 0;  // 1-based; 0: the file as a whole
  std::string message;  // "pools.web: unknown key \"max_task\", did you mean \"max_tasks\"?"
  [[nodiscard]] std::string text() const;  // file:line:column: message
};

struct Source {
  std::string path;  // FILE or DIR; empty: the default place for this user
  bool check_ownership = true;
};

// A key that a file gives, with its value as written, after drop-ins; keys not here have defaults.
struct Origin {
  std::string key;    // "pools.web.backoff.initial", "limits.clients"
  std::string value;  // JSON
  std::string file;
  std::uint32_t line = 0, column = 0;
};

struct LoadResult {
  Configuration configuration;
  std::vector<Problem> errors;  // not empty: the configuration must not be used
  std::vector<Origin> origins;  // daemon first, then pools in their order, keys in the table's
};

[[nodiscard]] LoadResult load(const Source& source);
// /etc/mtd for root, $XDG_CONFIG_HOME/mtd (or ~/.config/mtd) for others.
[[nodiscard]] std::string default_path();

// The flat form in which a loader process hands a configuration to the supervisor, and in which the
// keeper holds the one in force. JSON; decode checks it as it would a file.
[[nodiscard]] std::string encode(const Configuration& configuration);
[[nodiscard]] Result<Configuration> decode(std::string_view text);

}  // namespace mtd::config
