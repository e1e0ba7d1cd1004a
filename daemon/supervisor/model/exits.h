// What an exit means: its cause, whether it was planned, and what follows for the slot. Pure.
//
// The rule: what mtd ended on purpose is planned, whatever the status says. A draining process that
// goes by itself with a success code is planned too; with any other status it crashed. A process
// that the kernel refused, or that gave up before its program ran, never counts as the program's
// crash.
#pragma once

#include "daemon/supervisor/model/worker.h"

namespace mtd::model {

enum class Verdict {
  planned,
  clean,        // unplanned, success code, and it ran for min_uptime
  clean_early,  // … but for less: backs off, is not counted by the breaker
  crash,
  spawn_failed,  // set-up failed at a stage; the program never ran
  start_failed,  // nobody can say whether the program ran
};

struct Judgement {
  ExitCause cause{};
  Verdict verdict{};
};

[[nodiscard]] Judgement judge(const Process& process, const Exited& exit,
                              const config::PoolSpec& spec, Instant now);

// What the restart policy says of an unplanned exit.
enum class Sequel { restart, completed, failed };
[[nodiscard]] Sequel sequel_of(const Exited& exit, Verdict verdict, const config::PoolSpec& spec);

// A run shorter than this is early even where min_uptime is 0: an `always` pool does not spin.
inline constexpr Duration kLeastUptime = Duration::milliseconds(100);

}  // namespace mtd::model
