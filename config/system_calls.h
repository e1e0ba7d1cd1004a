// System calls by name, and groups of them, for sandbox.seccomp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::config {

// An Error: there is no such call or group, it cannot be refused, or mtd was built without
// libseccomp.
[[nodiscard]] Result<void> check_system_call(std::string_view name);
// Names with the groups replaced by their members, each once. Calls of a group that this machine
// does not have are in it all the same.
[[nodiscard]] std::vector<std::string> expand_system_calls(const std::vector<std::string>& names);
// Words separated by blanks.
[[nodiscard]] std::vector<std::string> split_names(std::string_view words);

}  // namespace mtd::config
