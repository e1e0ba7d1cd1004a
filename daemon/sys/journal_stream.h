// The journal as a worker's output, and as mtd's own log.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// A stream whose lines appear in the journal under `identifier`. Writing to it never needs mtd.
// Never waits: a journal whose queue is full is an error.
[[nodiscard]] Result<UniqueFd> open_journal_stream(
    const std::string& identifier, const char* socket_path = "/run/systemd/journal/stdout");
// Is stderr a stream to the journal, as $JOURNAL_STREAM says (systemd.exec(5))?
[[nodiscard]] bool stderr_is_journal();
// Was mtd started by a service manager that keeps a journal?
[[nodiscard]] bool under_journal();
// One write to stderr that never waits: what a full pipe does not take is dropped. False: dropped.
bool write_stderr(std::string_view line);

}  // namespace mtd::sys
