// Workers and their ends as JSON text, in the members that control_types.h names. Status writes
// thousands of them, so that nothing is built but the text.
#pragma once

#include <cstdint>

#include "common/json_writer.h"
#include "daemon/supervisor/model/pool.h"

namespace mtd::supervisor {

class PoolRunner;
struct Moment;

void write_exit(JsonWriter& out, const PoolRunner& pool, std::uint32_t slot,
                const model::ExitRecord& exit, const Moment& moment);
// `with_exits`: all that are known, not only the last.
void write_worker(JsonWriter& out, const PoolRunner& pool, const model::SlotView& slot,
                  const Moment& moment, bool with_exits);

}  // namespace mtd::supervisor
