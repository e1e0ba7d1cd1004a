// upgrade: begun with one supervisor, ended with another. The connection breaks in between; the
// upgrade's number is asked for at the next one.
#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/progress.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

// Supervisors that may follow each other until the upgrade has ended: the new one, the old one
// again, and a death of each.
constexpr int kMostSupervisors = 8;

Outcome<Json> follow(Context& context, const Json& number) {
  Outcome<Json> reply = Failure{CtlExit::unreachable, "mtd does not answer any more"};
  for (int i = 0; i < kMostSupervisors; ++i) {
    Outcome<Session> session = Session::open(context.options(), context.surroundings);
    if (!session) return session.failure();
    reply = call_with_progress(context, *session, "Upgrade", {{"follow", number}}, "upgrading");
    if (reply || reply.failure().code != CtlExit::unreachable) break;
  }
  return reply;
}

}  // namespace

Outcome<CtlExit> run_upgrade(Context& context) {
  Outcome<Json> reply = Json();
  {
    Outcome<Session> session = Session::open(context.options(), context.surroundings);
    if (!session) return session.failure();
    reply = call_with_progress(context, *session, "Upgrade", Json::object(),
                               "testing the new programs");
  }
  if (!reply) return reply.failure();
  if (context.options().wait) {
    reply = follow(context, member(*reply, "number"));
    if (!reply) return reply.failure();
  }
  if (context.options().wants_json()) {
    context.print(*reply);
  } else if (!context.options().quiet) {
    const std::string from = safe_text(*reply, "from"), to = safe_text(*reply, "to");
    const std::string versions = from == to ? to + " again" : from + " to " + to;
    context.out.line(context.options().wait ? "upgraded mtd and mtd-supervisor: " + versions
                                            : "upgrading mtd and mtd-supervisor: " + versions);
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
