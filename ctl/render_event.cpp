#include "ctl/render_event.h"

#include <nlohmann/json.hpp>

#include "ctl/display_width.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"

namespace mtd::ctl {
namespace {

void append(std::string& phrase, const std::string& more) {
  if (!more.empty()) phrase += (phrase.empty() ? "" : ", ") + more;
}

// Of the end of a process the detail says what last_exit says.
std::string detail_of(const Json& event) {
  const Json& detail = member(event, "detail");
  if (detail.is_null() || member(event, "last_exit").is_object()) return {};
  if (detail.is_string()) return safe_text(event, "detail");
  return detail.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string facts_of(const Json& event) {
  std::string facts;
  if (const auto pid = integer(event, "pid")) append(facts, "pid " + std::to_string(*pid));
  append(facts, exit_phrase(member(event, "last_exit")));
  if (is_true(member(event, "last_exit"), "planned")) append(facts, "planned");
  const std::string state = safe_text(event, "state");
  if (state != text(event, "event")) append(facts, state);
  if (const auto next = integer(event, "next_attempt_ms")) {
    append(facts, "retry in " + duration_phrase(next));
  }
  append(facts, detail_of(event));
  return facts;
}

Colour colour_of_event(const Json& event) {
  const std::string name = text(event, "event");
  const Json& exit = member(event, "last_exit");
  if (name == "failed" || name == "stuck" || name == "breaker_opened" || name == "lagged")
    return Colour::red;
  if (name == "spawn_failed" || name == "backoff" || name == "supervisor_died")
    return Colour::yellow;
  if (name == "exited") {
    return exit.is_object() && !is_true(exit, "planned") ? Colour::yellow : Colour::plain;
  }
  return name == "ready" ? Colour::green : Colour::plain;
}

}  // namespace

std::string render_event(const Json& event, const Screen& screen) {
  if (text(event, "event") == "lagged") {
    return screen.paint(std::string(screen.ellipsis()) + " " +
                            counted(integer(event, "missed").value_or(0), "event") +
                            " missed: too many at once for this reader",
                        Colour::red) +
           "\n";
  }
  std::string subject = safe_text(event, "worker");
  if (subject.empty()) subject = safe_text(event, "pool");
  if (subject.empty()) subject = "mtd";
  std::string line =
      pad(safe_text(event, "time"), 24, Align::left) + "  " + pad(subject, 12, Align::left) + "  ";
  line += screen.paint(pad(safe_text(event, "event"), 14, Align::left), colour_of_event(event));
  if (const std::string facts = facts_of(event); !facts.empty()) line += "  " + facts;
  const std::size_t end = line.find_last_not_of(' ');
  return line.substr(0, end + 1) + "\n";
}

}  // namespace mtd::ctl
