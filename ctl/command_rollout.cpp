// rollout: the status is part of what Status tells; the rest is a call of its own.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/progress.h"
#include "ctl/render_pools.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

constexpr std::array<std::string_view, 4> kActions{"status", "pause", "resume", "undo"};

std::string first_line(const Json& pool, const Json& rollout) {
  const std::string state = text(rollout, "state");
  const std::string to = "revision " + number_phrase(integer(rollout, "to"));
  const auto want = integer(pool, "want").value_or(0);
  const auto remaining = std::min(want, integer(rollout, "remaining").value_or(0));
  const std::string updated =
      std::to_string(want - remaining) + " of " + std::to_string(want) + " workers updated";
  if (state == "none") return to + " is in force, no roll-out is under way";
  if (state == "paused") return to + ": paused, " + updated;
  if (state == "back") return "back to " + to + ": " + updated;
  if (state == "waiting")
    return to + ": waits for the workers that the roll-out before replaced to end";
  return to + ": " + updated;
}

std::string render(const Json& pool, const Screen& screen) {
  const Json& rollout = member(pool, "rollout");
  std::string result =
      screen.paint(safe_text(pool, "name"), Colour::bold) + ": " + first_line(pool, rollout) + "\n";
  if (const auto failures = integer(rollout, "failures"); failures.value_or(0) > 0)
    result += "  " + counted(*failures, "failure") + " of its workers so far\n";
  if (const std::string why = safe_text(rollout, "failed_because"); !why.empty())
    result += "  " + screen.paint(why, Colour::red) + "\n";
  if (const auto previous = integer(rollout, "previous"))
    result += "  undo leads to revision " + std::to_string(*previous) + "\n";
  return result;
}

Outcome<CtlExit> show(Context& context, Session& session, const std::string& pool) {
  const Outcome<Json> reply = session.call("Status", Json{{"select", {pool}}});
  if (!reply) return reply.failure();
  bool failed = false;
  for (const Json& each : array(*reply, "pools"))
    failed = failed || member(member(each, "rollout"), "failed_revision").is_number();
  if (context.options().wants_json()) {
    Json pools = Json::array();
    for (const Json& each : array(*reply, "pools"))
      pools.push_back({{"name", member(each, "name")}, {"rollout", member(each, "rollout")}});
    context.print(Json{{"pools", std::move(pools)}});
  } else if (!context.options().quiet) {
    for (const Json& each : array(*reply, "pools"))
      context.out.write(render(each, context.screen));
  }
  return failed ? CtlExit::failed : CtlExit::ok;
}

}  // namespace

Outcome<CtlExit> run_rollout(Context& context) {
  const std::string& action = context.invocation.words.front();
  const std::string& pool = context.invocation.words.back();
  if (std::find(kActions.begin(), kActions.end(), action) == kActions.end()) {
    return Failure{CtlExit::usage, "'rollout' knows status, pause, resume and undo, not '" +
                                       escape_for_terminal(action) +
                                       "'\nTry 'mtctl help rollout'."};
  }
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  if (action == "status") return show(context, *session, pool);
  Json parameters{{"pool", pool}, {"action", action}};
  if (!context.options().wait) parameters["wait"] = false;
  const Outcome<Json> reply =
      call_with_progress(context, *session, "Rollout", parameters, "rolling out");
  if (!reply) return reply.failure();
  print_pools(context, *reply);
  return CtlExit::ok;
}

}  // namespace mtd::ctl
