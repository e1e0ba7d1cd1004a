#include "daemon/sys/memory_use.h"

#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>

#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMaxTree = 1000;

std::optional<std::uint64_t> proportional(pid_t pid) {
  const auto text = read_small_file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  if (!text) return std::nullopt;
  const auto at = text->find("\nPss:");
  if (at == std::string::npos) return std::nullopt;
  const auto kib = number_at(std::string_view(*text).substr(at + 5));
  return kib ? std::optional(*kib * 1024) : std::nullopt;
}

}  // namespace

std::uint64_t resident_bytes(pid_t pid) {
  if (!proc_is_ours()) return 0;
  const auto text = read_small_file("/proc/" + std::to_string(pid) + "/statm");
  if (!text) return 0;
  const auto space = text->find(' ');
  if (space == std::string::npos) return 0;
  const auto pages = number_at(std::string_view(*text).substr(space));
  return pages.value_or(0) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::vector<pid_t> tree_of(pid_t pid) {
  std::vector<pid_t> tree{pid};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    for (const pid_t child : children_of(tree[i]).value_or(std::vector<pid_t>())) {
      if (tree.size() < kMaxTree) tree.push_back(child);
    }
  }
  return tree;
}

std::uint64_t proportional_bytes(const std::vector<pid_t>& pids) {
  std::uint64_t bytes = 0;
  for (const pid_t pid : pids)
    bytes += proportional(pid).value_or(resident_bytes(pid));
  return bytes;
}

}  // namespace mtd::sys
