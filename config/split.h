// Splits a command written as one string into arguments as sh(1) would, without a shell: blanks,
// 'single' and "double" quotes, backslashes. Nothing else is special; there are no pipes or globs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::config {

// A $ that quoting makes literal comes out as $$, for expansion comes after splitting.
[[nodiscard]] Result<std::vector<std::string>> split_command(std::string_view text);

}  // namespace mtd::config
