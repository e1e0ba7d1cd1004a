// A role's end of its conversation with the keeper, and what a role does to itself at its start.
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// Takes descriptor 3 when it is the keeper's socket (and makes it close-on-exec).
[[nodiscard]] Result<UniqueFd> take_role_socket();
// Takes a descriptor that this program was started with; it is close-on-exec from now on.
[[nodiscard]] Result<UniqueFd> take_descriptor(int number);

}  // namespace mtd::sys
