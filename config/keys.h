// THE table of configuration keys, one row each. The loader, its error texts, the JSON Schema, the
// plan of a reload, the dump of defaults, the fingerprint of a pool and the list of keys in
// mtd.json(5) all come from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "config/plan.h"
#include "config/pool_spec.h"

namespace mtd::config {

enum class Type {
  boolean,
  integer,   // min..max, or one of `words`
  number,    // min..max, decimals allowed
  duration,  // min..max in milliseconds; "infinity" where it is in `words`
  word,      // one of `words`; a member of enum type has its enumerators in their order
  signal,
  text,          // not empty
  path,          // absolute after expansion
  mode,          // octal text
  codes,         // exit codes, 0..255
  names,         // texts
  command,       // text or texts
  paths,         // text or texts
  environment,   // object of texts and whole numbers
  limits,        // object of resource limits
  sockets,       // text or texts
  size,          // min..max bytes, or a text like "64M"
  count,         // min..max, one of `words`, or an object with the keys below it
  percentage,    // text, min..max
  cpus,          // list of numbers, or text
  io_priority,   // text
  capabilities,  // names
  system_calls,  // names, and @groups
  stop_steps,    // list of [signal, time]
  dependencies,  // object of pools
};

// A value of the file after its type and bounds were checked; of a word, its index; of a signal,
// its number; of a key that resolve.cpp works out, nothing.
using Scalar = std::variant<std::monostate, bool, std::int64_t, double, Duration, std::string,
                            std::vector<int>>;

// Everything about a key but its member.
struct KeyInfo {
  std::string_view path;  // "backoff.initial", below the pool or at the top of mtd.json
  Type type{};
  double min = 0, max = 0;  // of integer, number, duration
  std::vector<std::string_view> words;
  std::string_view fallback;  // the default: JSON, or prose where it depends on other keys
  Apply apply{};              // hot, rolling or restart
  std::string_view doc;       // what it is, one or two sentences

  [[nodiscard]] std::string_view name() const;    // the last part of the path
  [[nodiscard]] std::string expectation() const;  // "a whole number from 1 to 10"
};

template <class Spec>
struct Key {
  KeyInfo info;
  // Null when the key has no member of its own to put a scalar into: resolve.cpp does it.
  void (*set)(Spec&, const Scalar&, const KeyInfo&) = nullptr;
  // What a spec says for this key, as JSON the loader reads back (resolved keys: as decode does).
  // Null pointer: seen through another key; JSON null: not set.
  nlohmann::json (*get)(const Spec&, const KeyInfo&) = nullptr;
};

using PoolKey = Key<PoolSpec>;
using DaemonKey = Key<DaemonSpec>;

[[nodiscard]] const std::vector<PoolKey>& pool_keys();
[[nodiscard]] const std::vector<DaemonKey>& daemon_keys();

// Environment variables only mtd sets; a worker's configuration may not.
[[nodiscard]] bool is_reserved_variable(std::string_view name);

inline constexpr std::uint32_t kMaxWorkers = 10'000;

}  // namespace mtd::config
