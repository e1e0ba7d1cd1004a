// How much is waited for memory: the kernel's pressure stall information (Documentation/accounting/
// psi.rst).
#pragma once

#include <string_view>

#include "common/result.h"

namespace mtd::sys {

// Per cent of the last ten seconds in which at least one process waited for memory: of a cgroup
// given by its directory, or of the whole machine (-1, and where the cgroup does not tell). An
// Error where the kernel does not tell at all.
[[nodiscard]] Result<double> memory_pressure(int cgroup_directory);

// avg10 of the line "some"; an Error if it is not there.
[[nodiscard]] Result<double> parse_pressure(std::string_view text);

}  // namespace mtd::sys
