// ${VAR}, ${VAR:-default} and $$ in strings of the configuration.
//
// MTD_WORKER_ID and MTD_INCARNATION are known only when a process is spawned: they become markers
// (common/spec_marker.h). A byte that looks like a marker already becomes the marker of itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::config {

inline constexpr std::size_t kMaxExpanded = 128 * 1024;  // MAX_ARG_STRLEN, execve(2)

struct Expansion {
  std::string text;       // with markers
  bool per_slot = false;  // holds the slot's marker
};

// The value of a variable, raw or, from another expansion, with markers; empty when it is not
// defined.
using Lookup = std::function<Result<std::optional<Expansion>>(std::string_view name)>;

[[nodiscard]] Result<Expansion> expand(std::string_view text, std::string_view pool,
                                       const Lookup& lookup);

// A raw string with its 0x01 bytes escaped.
[[nodiscard]] std::string with_markers(std::string_view raw);
// Of one process: slot and incarnation are filled in, the rest stays marked.
[[nodiscard]] std::string for_worker(std::string_view marked, std::uint32_t slot,
                                     std::uint64_t incarnation);
// Of a text that for_worker made: as it is, without any mark.
[[nodiscard]] std::string unmarked(std::string_view marked);
[[nodiscard]] bool has_markers(std::string_view marked);
// Markers as ${MTD_WORKER_ID} and ${MTD_INCARNATION}, $ as $$; and back.
[[nodiscard]] std::string readable(std::string_view marked);
[[nodiscard]] Result<std::string> from_readable(std::string_view text);

}  // namespace mtd::config
