#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/scale_request.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

Json parameters_of(const ScaleRequest& request, bool wait) {
  Json parameters{{"pool", request.pool}};
  if (request.want) parameters["want"] = *request.want;
  if (request.delta) parameters["delta"] = *request.delta;
  if (request.reset) parameters["reset"] = true;
  if (request.current) parameters["current"] = *request.current;
  if (!wait) parameters["wait"] = false;
  return parameters;
}

std::string sentence(const Json& reply) {
  const auto before = integer(reply, "before");
  const auto want = integer(reply, "want");
  const auto file = integer(reply, "want_file");
  std::string result = safe_text(reply, "pool") + ": ";
  result += before == want ? "has " + number_phrase(want) + " already"
                           : number_phrase(before) + " → " + number_phrase(want) + " workers";
  if (file && file != want) result += " (the file says " + std::to_string(*file) + ")";
  return result;
}

}  // namespace

Outcome<CtlExit> run_scale(Context& context) {
  const Outcome<std::vector<ScaleRequest>> requests = parse_scale(context.invocation);
  if (!requests) return requests.failure();
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  for (const ScaleRequest& request : *requests) {
    const Outcome<Json> reply =
        session->call("Scale", parameters_of(request, context.options().wait));
    if (!reply) return reply.failure();
    if (context.options().quiet) continue;
    if (context.options().wants_json()) {
      context.print(*reply);
    } else if (context.options().format == Format::name) {
      context.out.line(safe_text(*reply, "pool"));
    } else {
      context.out.line(sentence(*reply));
    }
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
