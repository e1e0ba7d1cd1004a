// Why a pool is as it is and what happens next: plain sentences for people.
#pragma once

#include <string>
#include <vector>

#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/status_json.h"

namespace mtd::supervisor {

[[nodiscard]] std::vector<std::string> why_lines(const Supervisor& supervisor,
                                                 const PoolRunner& pool,
                                                 const std::vector<model::SlotView>& slots,
                                                 bool whole_pool, const Moment& moment);
// "exit 3", "killed by SIGSEGV (core dumped)", "could not be started: exec: No such file…".
[[nodiscard]] std::string exit_sentence(const model::ExitRecord& exit);

}  // namespace mtd::supervisor
