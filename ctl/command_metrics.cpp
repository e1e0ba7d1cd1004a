// metrics: the status for a monitoring system, once.
#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/metrics.h"
#include "ctl/session.h"
#include "ctl/status_report.h"

namespace mtd::ctl {

Outcome<CtlExit> run_metrics(Context& context) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const std::vector<std::string>& select = context.invocation.words;
  const Outcome<Json> report =
      fetch_status(*session, select, !select.empty() || context.options().all);
  if (!report) return report.failure();
  context.out.write(metrics_text(*report));
  return CtlExit::ok;
}

}  // namespace mtd::ctl
