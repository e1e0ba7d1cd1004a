// start, stop, restart, enable, disable, reset-failed, freeze, thaw, shutdown: one call, then what
// the daemon says of every pool.
#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/progress.h"
#include "ctl/render_pools.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

Json with_wait(const Context& context, Json parameters) {
  if (!context.options().wait) parameters["wait"] = false;
  return parameters;
}

Outcome<CtlExit> call_and_print(Context& context, std::string_view method, const Json& parameters,
                                std::string_view doing) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> reply = call_with_progress(context, *session, method, parameters, doing);
  if (!reply) return reply.failure();
  print_pools(context, *reply);
  for (const Json& pool : array(*reply, "pools")) {
    const Json& done = member(pool, "ok");
    if (done.is_boolean() && !done.get<bool>()) return CtlExit::failed;
  }
  return CtlExit::ok;
}

Json selection(const Context& context) {
  return Json{{"select", selectors(context)}};
}

}  // namespace

Outcome<CtlExit> run_start(Context& context) {
  return call_and_print(context, "Start", with_wait(context, selection(context)), "starting");
}

Outcome<CtlExit> run_stop(Context& context) {
  Json parameters = selection(context);
  const bool now = context.invocation.has("--now");
  const bool drain = context.invocation.has("--drain");
  if (now && drain)
    return Failure{CtlExit::usage, "--now and --drain exclude each other; give one of them"};
  if (now) parameters["now"] = true;
  if (drain) parameters["drain"] = true;
  return call_and_print(context, "Stop", with_wait(context, std::move(parameters)), "stopping");
}

Outcome<CtlExit> run_restart(Context& context) {
  return call_and_print(context, "Restart", with_wait(context, selection(context)), "restarting");
}

Outcome<CtlExit> run_reset_failed(Context& context) {
  return call_and_print(context, "ResetFailed", selection(context), "resetting");
}

Outcome<CtlExit> run_enable(Context& context) {
  auto done = call_and_print(context, "Enable", selection(context), "enabling");
  if (!done || *done != CtlExit::ok || !context.invocation.has("--now")) return done;
  return run_start(context);
}

Outcome<CtlExit> run_disable(Context& context) {
  auto done = call_and_print(context, "Disable", selection(context), "disabling");
  if (!done || *done != CtlExit::ok || !context.invocation.has("--now")) return done;
  return call_and_print(context, "Stop", with_wait(context, selection(context)), "stopping");
}

Outcome<CtlExit> run_freeze(Context& context) {
  return call_and_print(context, "Freeze", selection(context), "freezing");
}

Outcome<CtlExit> run_thaw(Context& context) {
  return call_and_print(context, "Thaw", selection(context), "thawing");
}

Outcome<CtlExit> run_shutdown(Context& context) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  Json parameters = Json::object();
  if (context.invocation.has("--now")) parameters["now"] = true;
  const Outcome<Json> reply = session->call("Shutdown", with_wait(context, std::move(parameters)));
  // The daemon may be gone before its answer is read: that is what was asked for.
  if (!reply && reply.failure().code != CtlExit::unreachable) return reply.failure();
  if (context.options().wants_json()) {
    context.print(Json::object());
  } else if (!context.options().quiet) {
    context.out.line(context.options().wait ? "mtd has stopped" : "mtd is stopping");
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
