#include <nlohmann/json.hpp>

#include "common/signals.h"
#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/session.h"

namespace mtd::ctl {

Outcome<CtlExit> run_signal(Context& context) {
  const std::vector<std::string>& words = context.invocation.words;
  const Result<SignalNumber> signal = parse_signal(words.front());
  if (!signal) {
    return Failure{CtlExit::usage, signal.error().message + "\nTry 'mtctl help signal'."};
  }
  std::vector<std::string> select(words.begin() + 1, words.end());
  if (context.options().all) select = {"*"};
  Json parameters{{"signal", signal_name(*signal)}, {"select", select}};
  if (context.invocation.has("--whom")) parameters["whom"] = context.invocation.value("--whom");
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> reply = session->call("Signal", parameters);
  if (!reply) return reply.failure();
  if (context.options().quiet) return CtlExit::ok;
  if (context.options().wants_json()) {
    context.print(*reply);
  } else {
    const std::int64_t sent = integer(*reply, "sent").value_or(0);
    context.out.line("sent " + signal_name(*signal) + " to " + std::to_string(sent) +
                     (sent == 1 ? " process" : " processes"));
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
