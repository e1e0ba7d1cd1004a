// What was changed at run time and outlives the daemon and the machine: how many workers were asked
// for
// (`mtctl scale`), which pools were stopped (`mtctl stop`), and which are started with mtd or not
// (`mtctl enable`, `disable`) whatever the configuration says. The flat form is JSON in the file
// STATE_DIR/run-time.json. Pure; the text read back is treated as hostile.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::supervisor {

inline constexpr const char* kRunTimeChangesFile = "run-time.json";
inline constexpr const char* kHeldChanges = "run-time-changes";  // the same, held by the keeper
inline constexpr std::size_t kMaxRunTimeChangesBytes = 4 << 20;

struct RunTimeChange {
  std::optional<std::uint32_t> want;        // 0..10 000, in place of the file's number
  std::optional<std::uint32_t> stopped_by;  // uid; empty: not stopped
  std::optional<bool> enabled;              // mtctl enable, disable
  bool operator==(const RunTimeChange&) const = default;
};
using RunTimeChanges =
    std::map<std::string, RunTimeChange>;  // by pool; pools without one are left out

[[nodiscard]] std::string encode(const RunTimeChanges& changes);
// An Error names what is wrong; the file is then set aside and nothing of it is used.
[[nodiscard]] Result<RunTimeChanges> decode_run_time_changes(std::string_view text);

}  // namespace mtd::supervisor
