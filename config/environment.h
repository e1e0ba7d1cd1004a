// The environment of a pool's workers, put together from the configuration; and the variables that
// ${…} may name. Strongest first: env, env_file, env_pass, the worker's PATH, HOME, USER, LOGNAME,
// SHELL and LANG; for ${…} only, last, what mtd itself was started with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/result.h"
#include "config/expand.h"
#include "config/node.h"
#include "config/pool_spec.h"

namespace mtd::config {

using Variables = std::map<std::string, std::string, std::less<>>;

inline constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

[[nodiscard]] bool is_variable_name(std::string_view name);
[[nodiscard]] Variables standard_variables(const Identity& identity);
// Of this process.
[[nodiscard]] Variables start_environment();

// Lines NAME=VALUE. The error names the line: "line 3: …".
[[nodiscard]] Result<Variables> parse_env_file(std::string_view text);

class Environment {
 public:
  explicit Environment(std::string pool) : pool_(std::move(pool)) {}

  Variables standard;                                   // raw
  Variables passed;                                     // raw
  Variables from_file;                                  // raw
  std::map<std::string, const Node*, std::less<>> own;  // env of the configuration, not expanded
  Variables start;                                      // raw; only for ${…}

  [[nodiscard]] Result<Expansion> expand(std::string_view text) const;
  // One variable of `own`, expanded.
  [[nodiscard]] Result<Expansion> own_value(std::string_view name) const;
  // Everything a worker gets, NAME=VALUE with markers, sorted by name. `own` must expand.
  [[nodiscard]] std::vector<std::string> build() const;

 private:
  [[nodiscard]] Result<std::optional<Expansion>> lookup(std::string_view name,
                                                        std::vector<std::string>& open) const;
  [[nodiscard]] Result<Expansion> expand_own(std::string_view name,
                                             std::vector<std::string>& open) const;

  std::string pool_;
  mutable std::map<std::string, Expansion, std::less<>> known_;  // own variables expanded so far
};

}  // namespace mtd::config
