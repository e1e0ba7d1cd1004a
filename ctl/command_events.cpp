// events: the stream of state changes, each printed as soon as it comes.
#include <optional>

#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/json_output.h"
#include "ctl/render_event.h"
#include "ctl/session.h"

namespace mtd::ctl {
namespace {

// `cursor`: of the last event that was printed, from which to go on.
Json parameters_of(const Invocation& invocation, const std::string& cursor) {
  Json parameters{{"follow", invocation.has("--follow")}};
  if (invocation.has("--since")) parameters["since"] = invocation.value("--since");
  if (!cursor.empty()) parameters["since"] = cursor;
  if (!invocation.words.empty()) parameters["select"] = invocation.words;
  return parameters;
}

void print_event(const Context& context, const Json& event) {
  if (context.options().quiet) return;
  switch (context.options().format) {
    case Format::json:
    case Format::jsonl:
      return context.out.write(print_json(event, {false, context.screen.terminal}));
    case Format::name:
      return context.out.line(safe_text(event, "event"));
    case Format::table:
    case Format::wide:
      return context.out.write(render_event(event, context.screen));
  }
}

// Of what was asked for, as 'status' says it; nothing: all of it is there.
std::optional<Failure> missing(const Context& context) {
  if (context.invocation.words.empty()) return std::nullopt;
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return std::nullopt;
  const Outcome<Json> status = session->call("Status", {{"select", context.invocation.words}});
  if (status || status.failure().code != CtlExit::no_such) return std::nullopt;
  return status.failure();
}

// Until the end of the stream or an interruption. A cursor goes along with what is printed.
Outcome<CtlExit> show(Context& context, const Interrupts& interrupts) {
  std::string cursor;
  bool printed = false;
  const std::optional<Failure> nobody = missing(context);
  if (nobody && context.invocation.has("--follow"))
    context.err.line("mtctl: " + nobody->message + "; events of it are shown once there are any");
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const auto begun = session->begin("Events", parameters_of(context.invocation, cursor));
  if (!begun) return begun.failure();
  while (context.out.usable()) {
    if (!session->has_part() && context.invocation.has("--follow")) {
      const Interruption what = wait_for_input(session->fd(), context.out.fd(), interrupts);
      if (what == Interruption::stop) break;
      if (what == Interruption::resized) continue;
    }
    const Outcome<Session::Part> part = session->next();
    if (!part) {
      // The supervisor was replaced: what comes after the cursor is told by its successor.
      if (cursor.empty() || !session->can_begin_again()) return part.failure();
      const auto again = session->begin("Events", parameters_of(context.invocation, cursor));
      if (!again) return again.failure();
      continue;
    }
    for (const Json& event : array(part->parameters, "events")) {
      printed = true;
      print_event(context, event);
      if (const std::string at = text(event, "cursor"); !at.empty()) cursor = at;
    }
    if (const std::string at = text(part->parameters, "cursor"); !at.empty()) cursor = at;
    if (part->last) break;
  }
  if (nobody && !context.invocation.has("--follow")) {
    if (!printed) return *nobody;
    context.err.line("mtctl: " + nobody->message);  // but events of it, or of the others, are kept
  }
  return CtlExit::ok;
}

}  // namespace

Outcome<CtlExit> run_events(Context& context) {
  const Interrupts interrupts(context.out);
  return show(context, interrupts);
}

}  // namespace mtd::ctl
