// Compiles a list of system calls that are to be refused into the program the kernel runs for each
// call. Everything that is not named is allowed.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "daemon/sys/spawn_spec_format.h"

namespace mtd::sys {

// Refused with EPERM; clone3 with ENOSYS, for which libraries use clone instead. "clone:namespaces"
// is a clone that makes a namespace. Calls that this machine does not have are left out. Programs
// of the machine's other word size get the same.
[[nodiscard]] Result<std::vector<SpecInstruction>> compile_seccomp(
    const std::vector<std::string>& refused);

}  // namespace mtd::sys
