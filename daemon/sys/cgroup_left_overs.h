// What an mtd that is gone left in the cgroup hierarchy: found by its directories, ended and
// removed before a new one starts anything. A living mtd is known by its populated `mtd`; its tree
// is left alone, as are those of other users.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "daemon/sys/cgroup.h"
#include "daemon/sys/cgroup_paths.h"

namespace mtd::sys {

// In `start`, the cgroup the caller and `keeper` were started in: the trees `mtd.<instance>`, and,
// where it is a service's own cgroup, `mtd` and `pools` of the service's former life. Waits 2 s in
// all for what is killed to end.
[[nodiscard]] std::vector<LeftOverTree> end_left_overs(int start, const CgroupPlace& place,
                                                       pid_t keeper);

}  // namespace mtd::sys
