// What the verbs about tasks share: where io.mtd.Tasks is, calls of its methods, and a client for
// putting tasks and hearing how they end.
#pragma once

#include <mtd/client.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ctl/commands.h"
#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/stall_note.h"

namespace mtd::ctl {

// Beside the control sockets that would be tried.
[[nodiscard]] std::vector<std::string> task_sockets(const Context& context);
// The places that StallNote asks.
[[nodiscard]] StalledAt stalled_at(const Context& context);
// How long mtd may be away or silent: --patience, else 30 seconds.
[[nodiscard]] Outcome<Duration> patience_of(const Context& context);
// One call of io.mtd.Tasks; the parameters of its answer. Without --timeout an mtd that does not
// answer within the patience has failed. A call that was cut off by the broker's death is made
// again where doing it twice is doing it once.
[[nodiscard]] Outcome<Json> call_tasks(const Context& context, std::string_view method,
                                       const Json& parameters);
// The same for what may take its time: as long as mtd answers others. What keeps `pool` from its
// tasks is told on the standard error output; empty: it does not matter.
[[nodiscard]] Outcome<Json> call_tasks_at_length(Context& context, std::string_view method,
                                                 const Json& parameters, const std::string& pool);
// No end of it came within --timeout.
[[nodiscard]] Failure no_answer_in_time();
// Waits for mtd as long as the patience, or `at_most`, and then says that --timeout is over.
[[nodiscard]] Outcome<Client> connect_client(const Context& context, ClientOptions options,
                                             Duration at_most = Duration::infinite());
[[nodiscard]] Failure client_failure(const Error& error);

// Numbers of tasks; the failure names the word that is none.
[[nodiscard]] Outcome<std::vector<std::int64_t>> task_ids(const std::vector<std::string>& words);
[[nodiscard]] bool is_task_id(std::string_view word);
// A duration of an option, in milliseconds; none: the option was not given.
[[nodiscard]] Outcome<std::optional<std::int64_t>> milliseconds_of(const Context& context,
                                                                   const std::string& option);
[[nodiscard]] Outcome<std::optional<std::int64_t>> number_of(const Context& context,
                                                             const std::string& option,
                                                             std::int64_t least, std::int64_t most);

// The result of a task as it is printed: bytes as they are; a text as it is and a newline; other
// JSON on one line.
[[nodiscard]] std::string printed_result(const End& end);
// "exit 3: no such file", "killed by signal 9 (KILL), 3 attempts": why there is no result.
[[nodiscard]] std::string failure_phrase(const End& end);
// What `mtctl run` exits with: the command's own code, 128+n, 124, 75, 125, or 1.
[[nodiscard]] CtlExit exit_code_of(const End& end);
// An end as JSON, for -o json and jsonl.
[[nodiscard]] Json end_as_json(const End& end);

}  // namespace mtd::ctl
