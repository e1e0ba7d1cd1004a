// Host names to numeric addresses, through the name service, at load and never later.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace mtd::config {

// Each address once, in the resolver's order. An unknown name is an error.
[[nodiscard]] Result<std::vector<std::string>> resolve_host(const std::string& name);

}  // namespace mtd::config
