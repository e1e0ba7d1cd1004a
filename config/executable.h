// Finds the program of a command the way execvp(3) would, but with the worker's PATH and directory,
// and once, when the configuration is read.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::config {

// An absolute path to a regular file that may be executed. `directory`: the worker's, for a program
// given by a relative path; empty when it is not known before the spawn. Errors name the path
// tried.
[[nodiscard]] Result<std::string> find_executable(const std::string& program, std::string_view path,
                                                  const std::string& directory);

}  // namespace mtd::config
