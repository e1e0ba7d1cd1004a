// wait and is-ready: when is it so, or is it so now.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/progress.h"
#include "ctl/render_pools.h"
#include "ctl/session.h"
#include "ctl/task_calls.h"

namespace mtd::ctl {
namespace {

// "web: ready (4/4)", "web: not ready: backoff, 2/4; retry in 3s"
std::string readiness_line(const Json& pool) {
  const auto ready = integer(pool, "ready");
  const auto want = integer(pool, "want");
  const std::string state = safe_text(pool, "state");
  const bool is_so = (state == "running" || state == "rolling") && ready && want && *ready >= *want;
  const std::string counts = number_phrase(ready) + "/" + number_phrase(want);
  std::string line = safe_text(pool, "name") + ": ";
  if (is_so) return line + "ready (" + counts + ")";
  line += "not ready: " + state + ", " + counts;
  if (const std::string note = safe_text(pool, "note"); !note.empty()) line += "; " + note;
  return line;
}

// Numbers are tasks, unless a state of pools is asked for.
bool is_about_tasks(const Invocation& invocation) {
  if (invocation.has("--group")) return true;
  if (invocation.has("--for") || invocation.words.empty()) return false;
  return std::all_of(invocation.words.begin(), invocation.words.end(), is_task_id);
}

}  // namespace

Outcome<CtlExit> run_wait(Context& context) {
  if (is_about_tasks(context.invocation)) return run_wait_for_tasks(context);
  if (context.invocation.has("--any")) {
    return Failure{CtlExit::usage,
                   "--any goes with numbers of tasks or with --group, not with pools"};
  }
  if (context.invocation.words.empty() && !context.options().all) {
    return Failure{CtlExit::usage,
                   "'wait' needs a pool or worker, --all, or the number of a task\n"
                   "Try 'mtctl help wait'."};
  }
  std::string goal = context.invocation.value("--for");
  if (goal.empty()) goal = "ready";
  const Json parameters{{"select", selectors(context)}, {"for", goal}};
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> reply =
      call_with_progress(context, *session, "Wait", parameters, "waiting until " + goal);
  if (!reply) return reply.failure();
  print_pools(context, *reply);
  return CtlExit::ok;
}

Outcome<CtlExit> run_is_ready(Context& context) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  Json parameters = Json::object();
  if (const auto select = selectors(context); !select.empty()) parameters["select"] = select;
  const Outcome<Json> reply = session->call("IsReady", parameters);
  if (!reply) {
    if (!context.options().quiet || reply.failure().code != CtlExit::not_ready)
      return reply.failure();
    return CtlExit::not_ready;
  }
  if (context.options().wants_json()) {
    context.print(*reply);
  } else if (!context.options().quiet) {
    for (const Json& pool : array(*reply, "pools"))
      context.out.line(readiness_line(pool));
  }
  return is_true(*reply, "ready") ? CtlExit::ok : CtlExit::not_ready;
}

}  // namespace mtd::ctl
