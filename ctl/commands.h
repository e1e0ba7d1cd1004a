// What each verb does. A command prints its answer to `out`, progress to `err`, and ends with an
// exit code or with the failure that main() prints.
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "ctl/command_line.h"
#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/output.h"
#include "ctl/screen.h"
#include "ctl/socket_search.h"

namespace mtd::ctl {

struct Context {
  const Invocation& invocation;
  const Surroundings& surroundings;
  Output& out;
  Output& err;
  Screen screen;        // of out
  Screen error_screen;  // of err

  [[nodiscard]] const Options& options() const { return invocation.options; }
  // One JSON document, indented unless jsonl was asked for.
  void print(const Json& document) const;
};

using Command = Outcome<CtlExit> (*)(Context&);
// nullptr: no such verb.
[[nodiscard]] Command find_command(std::string_view verb);

[[nodiscard]] Outcome<CtlExit> run_status(Context& context);
[[nodiscard]] Outcome<CtlExit> run_start(Context& context);
[[nodiscard]] Outcome<CtlExit> run_stop(Context& context);
[[nodiscard]] Outcome<CtlExit> run_restart(Context& context);
[[nodiscard]] Outcome<CtlExit> run_scale(Context& context);
[[nodiscard]] Outcome<CtlExit> run_reload(Context& context);
[[nodiscard]] Outcome<CtlExit> run_enable(Context& context);
[[nodiscard]] Outcome<CtlExit> run_disable(Context& context);
[[nodiscard]] Outcome<CtlExit> run_rollout(Context& context);
[[nodiscard]] Outcome<CtlExit> run_signal(Context& context);
[[nodiscard]] Outcome<CtlExit> run_events(Context& context);
[[nodiscard]] Outcome<CtlExit> run_wait(Context& context);
[[nodiscard]] Outcome<CtlExit> run_wait_for_tasks(Context& context);  // a part of wait
[[nodiscard]] Outcome<CtlExit> run_is_ready(Context& context);
[[nodiscard]] Outcome<CtlExit> run_why(Context& context);
[[nodiscard]] Outcome<CtlExit> run_reset_failed(Context& context);
[[nodiscard]] Outcome<CtlExit> run_freeze(Context& context);
[[nodiscard]] Outcome<CtlExit> run_thaw(Context& context);
[[nodiscard]] Outcome<CtlExit> run_tree(Context& context);
[[nodiscard]] Outcome<CtlExit> run_limits(Context& context);
[[nodiscard]] Outcome<CtlExit> run_upgrade(Context& context);
[[nodiscard]] Outcome<CtlExit> run_shutdown(Context& context);
[[nodiscard]] Outcome<CtlExit> run_put(Context& context);
[[nodiscard]] Outcome<CtlExit> run_run(Context& context);
[[nodiscard]] Outcome<CtlExit> run_map(Context& context);
[[nodiscard]] Outcome<CtlExit> run_result(Context& context);
[[nodiscard]] Outcome<CtlExit> run_cancel(Context& context);
[[nodiscard]] Outcome<CtlExit> run_task(Context& context);
[[nodiscard]] Outcome<CtlExit> run_dead(Context& context);
[[nodiscard]] Outcome<CtlExit> run_drain(Context& context);
[[nodiscard]] Outcome<CtlExit> run_pool(Context& context);
[[nodiscard]] Outcome<CtlExit> run_worker(Context& context);
[[nodiscard]] Outcome<CtlExit> run_config(Context& context);
[[nodiscard]] Outcome<CtlExit> run_metrics(Context& context);
[[nodiscard]] Outcome<CtlExit> run_version(Context& context);
[[nodiscard]] Outcome<CtlExit> run_completion(Context& context);
[[nodiscard]] Outcome<CtlExit> run_help(Context& context);

}  // namespace mtd::ctl
