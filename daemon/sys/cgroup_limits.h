// Limits of a cgroup: the files they are written to, and the controllers that have to be enabled
// above it first. cgroupfs is memory: nothing here blocks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::sys {

struct CgroupSetting {
  std::string key;         // of the configuration, "cgroup.memory_max"
  std::string controller;  // "memory"
  std::string file;        // "memory.max"
  std::string value;       // "max": no limit
};

// What could not be set, and why.
struct CgroupRefusal {
  std::string key;
  Error reason;
};

// Makes the controller available in the directories below `directory`. ENODEV: it is not available
// in this one, and the message lists those that are.
[[nodiscard]] Result<void> enable_controller(int directory, std::string_view controller);
// The opposite for all controllers, so that processes may live in the directory again.
void disable_controllers(int directory);
[[nodiscard]] std::vector<CgroupRefusal> write_limits(int directory,
                                                      const std::vector<CgroupSetting>& settings);

}  // namespace mtd::sys
