// Where this process stands in the cgroup v2 hierarchy, and what a path in it says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "daemon/sys/cgroup.h"

namespace mtd::sys {

struct CgroupPlace {
  std::string directory;  // absolute path of the own cgroup in the file system
  std::string hierarchy;  // the same as /proc/PID/cgroup writes it, but "" for the root
};

// By /proc/self/mountinfo and the 0:: line of /proc/self/cgroup.
[[nodiscard]] Result<CgroupPlace> find_cgroup_place();
// The pure part: texts of the two files.
[[nodiscard]] Result<CgroupPlace> find_cgroup_place(std::string_view mountinfo,
                                                    std::string_view self_cgroup);

// "<hierarchy>/pools/web/3.17/…" → web, 3, 17.
[[nodiscard]] std::optional<CgroupName> parse_worker_cgroup(std::string_view hierarchy,
                                                            std::string_view path);

}  // namespace mtd::sys
