// What an earlier supervisor died of, in words: "pid 12 was killed by SIGKILL after 3h".
#pragma once

#include <string>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

[[nodiscard]] std::string death_text(const keeper::Death& death);

}  // namespace mtd::supervisor
