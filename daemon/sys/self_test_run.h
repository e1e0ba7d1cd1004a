// One self-test: a program is executed from a descriptor, and what it says is read. Blocks for at
// most kSelfTestTime: for the child of a ProgramCheck only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace mtd::sys {

struct ProgramVersion {
  std::string version;
  std::uint32_t protocol = 0;
};

// `inputs` become descriptors 3, 4, … of the program. `name`: who it has to say it is.
[[nodiscard]] Result<ProgramVersion> run_self_test(int program, const std::string& name,
                                                   const std::vector<std::string>& arguments,
                                                   const std::vector<int>& inputs);

}  // namespace mtd::sys
