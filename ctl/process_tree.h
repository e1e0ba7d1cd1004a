// The processes of workers as trees, from what the daemon says belongs to a worker and from /proc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ctl/json.h"
#include "ctl/process_facts.h"
#include "ctl/screen.h"

namespace mtd::ctl {

struct TreeLine {
  int depth = 0;  // 0: the worker's main process
  int pid = 0;
  std::string text;    // command line or, in brackets, the name; safe for a terminal
  bool stray = false;  // belongs to the worker and is no descendant of its main process
};

// `members`: the pids that belong to the worker besides descendants of `main_pid`. `arguments`
// gives the command line of a pid.
[[nodiscard]] std::vector<TreeLine> worker_tree(int main_pid, const std::vector<int>& members,
                                                const std::map<int, ProcessFacts>& processes,
                                                std::string (*arguments)(int pid));
[[nodiscard]] std::string render_tree(const std::string& worker, const std::vector<TreeLine>& lines,
                                      const Screen& screen);

}  // namespace mtd::ctl
