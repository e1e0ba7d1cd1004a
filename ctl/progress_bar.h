// The line that says how far a map is: done of total, rate, time left, failures. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/screen.h"

namespace mtd::ctl {

struct MapProgress {
  std::int64_t done = 0;  // tasks that have ended, failed ones too
  std::int64_t failed = 0;
  std::int64_t running = 0;           // handed in, not ended
  std::optional<std::int64_t> total;  // none: not known yet
  std::int64_t elapsed_ms = 0;
  bool connected = true;
  bool stopping = false;
};

// At most one line of the screen, without a newline:
// "[########........]  512/1024  50%  128/s  ETA 4s  2 failed".
[[nodiscard]] std::string progress_bar(const MapProgress& progress, const Screen& screen);

}  // namespace mtd::ctl
