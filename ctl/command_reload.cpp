#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/progress.h"
#include "ctl/render_plan.h"
#include "ctl/render_pools.h"
#include "ctl/session.h"

namespace mtd::ctl {

Outcome<CtlExit> run_reload(Context& context) {
  Json parameters = Json::object();
  if (!context.invocation.words.empty()) parameters["pool"] = context.invocation.words.front();
  if (!context.options().wait) parameters["wait"] = false;
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> reply =
      call_with_progress(context, *session, "Reload", parameters, "reloading");
  if (!reply) return reply.failure();
  if (context.options().quiet) return CtlExit::ok;
  if (context.options().wants_json()) {
    context.print(*reply);
    return CtlExit::ok;
  }
  const std::string plan = render_plan(member(*reply, "plan"), context.screen);
  const std::string revision = "config rev " + number_phrase(integer(*reply, "config_rev"));
  context.out.write(plan + render_pools(*reply, context.screen));
  context.out.line(plan.empty() ? "nothing has changed, " + revision : revision + " is in force");
  return CtlExit::ok;
}

}  // namespace mtd::ctl
