#include "daemon/sys/cgroup_left_overs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "daemon/sys/cgroup_files.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMostNamed = 16;

bool is_ours(int directory) {
  struct stat info {};
  return ::fstat(directory, &info) == 0 && info.st_uid == ::geteuid();
}

// Its `pools`: emptied and removed as far as it can be.
LeftOverTree end_pools(int own, const std::string& path, const std::string& hierarchy,
                       int& rounds) {
  LeftOverTree tree;
  tree.path = path;
  if (const UniqueFd pools = open_cgroup(own, "pools")) {
    std::vector<pid_t> living;
    append_pids(pools.get(), living);
    tree.processes = living.size();
    end_below(pools.get(), hierarchy + "/pools", rounds);
    living.clear();
    append_pids(pools.get(), living);
    for (const pid_t pid : living) {
      if (tree.living.size() < kMostNamed)
        tree.living.push_back(std::to_string(pid) + " " + comm_of(pid));
    }
  }
  tree.removed = remove_cgroup(own, "pools").has_value();
  return tree;
}

}  // namespace

std::vector<LeftOverTree> end_left_overs(int start, const CgroupPlace& place, pid_t keeper) {
  std::vector<std::string> names;
  each_subdirectory(start, [&](const char* name) {
    if (is_own_cgroup_name(name)) names.emplace_back(name);
  });
  std::vector<LeftOverTree> ended;
  int rounds = kEndRounds;
  for (const auto& name : names) {
    const UniqueFd own = open_cgroup(start, name.c_str());
    if (!own || !is_ours(own.get())) continue;
    if (is_populated(own.get(), "mtd") || !is_alone(own.get(), 0)) continue;
    auto tree =
        end_pools(own.get(), place.directory + "/" + name, place.hierarchy + "/" + name, rounds);
    ::unlinkat(own.get(), "mtd", AT_REMOVEDIR);
    tree.removed = ::unlinkat(start, name.c_str(), AT_REMOVEDIR) == 0;
    ended.push_back(std::move(tree));
  }
  // A service manager starts each life of its service in the same cgroup.
  const UniqueFd roles = open_cgroup(start, "mtd"), pools = open_cgroup(start, "pools");
  if (roles && pools && is_ours(roles.get()) && is_ours(pools.get()) &&
      !is_populated(start, "mtd") && is_alone(start, keeper)) {
    ended.push_back(end_pools(start, place.directory, place.hierarchy, rounds));
  }
  return ended;
}

}  // namespace mtd::sys
