// Why a file that an upgrade found cannot be a program of this machine, in words for whoever put it
// there: the kernel's errno for another architecture, a script or half a download says none of it.
#pragma once

#include <string>

namespace mtd::sys {

// What is wrong with the file open at `file` (O_PATH is enough), as the rest of a sentence that
// begins with its name; empty: nothing that can be seen, or it cannot be read.
[[nodiscard]] std::string misfit_of(int file);

}  // namespace mtd::sys
