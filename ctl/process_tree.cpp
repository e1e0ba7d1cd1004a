#include "ctl/process_tree.h"

#include <algorithm>
#include <set>

#include "common/escape.h"
#include "ctl/display_width.h"

namespace mtd::ctl {
namespace {

class Builder {
 public:
  Builder(const std::map<int, ProcessFacts>& processes, std::string (*arguments)(int))
      : processes_(processes), arguments_(arguments) {
    for (const auto& entry : processes)
      children_[entry.second.parent].push_back(entry.first);
  }

  // Depth first without recursion: a process tree can be very deep.
  void add(int root, bool stray) {
    struct Pending {
      int pid;
      int depth;
    };
    std::vector<Pending> pending{{root, stray ? 1 : 0}};
    while (!pending.empty()) {
      const Pending next = pending.back();
      pending.pop_back();
      if (!seen_.insert(next.pid).second) continue;
      lines_.push_back({next.depth, next.pid, describe(next.pid), stray && next.pid == root});
      const auto found = children_.find(next.pid);
      if (found == children_.end()) continue;
      for (auto child = found->second.rbegin(); child != found->second.rend(); ++child) {
        pending.push_back({*child, next.depth + 1});
      }
    }
  }

  [[nodiscard]] bool seen(int pid) const { return seen_.count(pid) != 0; }
  [[nodiscard]] std::vector<TreeLine> lines() && { return std::move(lines_); }

 private:
  [[nodiscard]] std::string describe(int pid) const {
    const auto found = processes_.find(pid);
    if (found == processes_.end()) return "(gone)";
    if (found->second.state == 'Z')
      return "[" + escape_for_terminal(found->second.name) + "] zombie";
    const std::string arguments = arguments_(pid);
    if (arguments.empty()) return "[" + escape_for_terminal(found->second.name) + "]";
    return escape_for_terminal(arguments);
  }

  const std::map<int, ProcessFacts>& processes_;
  std::string (*arguments_)(int);
  std::map<int, std::vector<int>> children_;
  std::set<int> seen_;
  std::vector<TreeLine> lines_;
};

}  // namespace

std::vector<TreeLine> worker_tree(int main_pid, const std::vector<int>& members,
                                  const std::map<int, ProcessFacts>& processes,
                                  std::string (*arguments)(int pid)) {
  Builder builder(processes, arguments);
  if (main_pid > 0) builder.add(main_pid, false);
  const std::set<int> wanted(members.begin(), members.end());
  // Roots first, so that a stray's own children are shown below it.
  for (const bool roots : {true, false}) {
    for (const int pid : wanted) {
      const auto found = processes.find(pid);
      if (builder.seen(pid) || found == processes.end()) continue;
      if (roots && wanted.count(found->second.parent) != 0) continue;
      builder.add(pid, true);
    }
  }
  return std::move(builder).lines();
}

std::string render_tree(const std::string& worker, const std::vector<TreeLine>& lines,
                        const Screen& screen) {
  std::string result =
      screen.paint(worker, Colour::bold) + (lines.empty() ? "  no process" : "") + "\n";
  for (const TreeLine& line : lines) {
    const int depth = std::min(line.depth, 40);
    const std::string head =
        std::string(static_cast<std::size_t>(2 + 2 * depth), ' ') + std::to_string(line.pid) + "  ";
    const std::string mark = line.stray ? "stray  " : "";
    const std::size_t used = head.size() + mark.size();
    std::string text = line.text;
    if (screen.width != 0)
      text = cut_to_width(text, screen.width > used ? screen.width - used : 1, screen.ellipsis());
    result += head + screen.paint(mark, Colour::yellow) + text + "\n";
  }
  return result;
}

}  // namespace mtd::ctl
