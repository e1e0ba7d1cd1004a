// What /proc says about processes: for CPU and RSS of workers and for the tree. A process that is
// gone, or that this user may not see, is simply not known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/json.h"

namespace mtd::ctl {

struct ProcessFacts {
  int pid = 0;
  int parent = 0;
  std::string name;  // comm, as the process wrote it: not safe for a terminal
  char state = '?';
  std::uint64_t cpu_ticks = 0;    // user + system
  std::uint64_t start_ticks = 0;  // after boot
  std::uint64_t rss_pages = 0;
};

// Of the text of /proc/PID/stat; the name may hold blanks and parentheses.
[[nodiscard]] std::optional<ProcessFacts> parse_stat(std::string_view text);
[[nodiscard]] std::optional<ProcessFacts> read_process(int pid);
// Arguments separated by blanks, cut at 4 096 bytes; empty for a zombie. Not safe for a terminal.
[[nodiscard]] std::string read_arguments(int pid);
// Every process of the system that can be seen, by pid.
[[nodiscard]] std::map<int, ProcessFacts> all_processes();

// Sets rss_bytes and cpu_pct (average since the start) of every worker in `pools`. Only for
// processes that are children of the keeper: then the numbers are not those of another process, or
// of another pid namespace.
void fill_resource_use(Json& pools, int keeper_pid);

}  // namespace mtd::ctl
