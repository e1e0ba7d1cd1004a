#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

// Of the daemon; null when none answers, which is no error here.
Json daemon_version(const Context& context) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return nullptr;
  const Outcome<Json> reply = session->call("Status", Json::object());
  return reply ? member(member(*reply, "daemon"), "version") : Json(nullptr);
}

}  // namespace

Outcome<CtlExit> run_version(Context& context) {
  const Json daemon = daemon_version(context);
  if (context.options().wants_json()) {
    context.print({{"mtctl", MTD_VERSION}, {"daemon", daemon}});
    return CtlExit::ok;
  }
  context.out.line("mtctl " MTD_VERSION);
  context.out.line(daemon.is_string() ? "mtd   " + safe_text(Json{{"v", daemon}}, "v")
                                      : "mtd   not running, or not to be reached");
  return CtlExit::ok;
}

}  // namespace mtd::ctl
