// The service of systemd that a process is the main process of, and what systemd does to the
// service's other processes at its stop. It is asked over D-Bus, and may not answer for long: only
// helper processes may.
#pragma once

#include <string>

#include "common/result.h"

namespace mtd::sys {

struct ServiceUnit {
  std::string name;       // "mtd.service"; empty: `pid` is no service's main process
  std::string kill_mode;  // systemd.kill(5)
};

// An Error if it is in a service of which the service manager tells nothing.
[[nodiscard]] Result<ServiceUnit> service_unit_of(int pid);

}  // namespace mtd::sys
