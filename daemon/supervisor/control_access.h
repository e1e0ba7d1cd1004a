// Who may call the sockets of mtd, as the configuration has it.
#pragma once

#include <sys/types.h>

#include "config/pool_spec.h"
#include "daemon/control/access.h"

namespace mtd::supervisor {

[[nodiscard]] inline control::AccessPolicy access_of(const config::DaemonSpec& daemon,
                                                     uid_t owner) {
  return {owner, daemon.operate_gid, daemon.readonly_gid};
}

}  // namespace mtd::supervisor
