// status: once, or again whenever the daemon says that something changed.
#include <nlohmann/json.hpp>

#include "ctl/commands.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/render_status.h"
#include "ctl/session.h"
#include "ctl/status_report.h"

namespace mtd::ctl {
namespace {

bool needs_workers(const Context& context) {
  return context.options().format != Format::name &&
         (context.options().format != Format::table || !context.invocation.words.empty());
}

std::string render(const Context& context, const Json& report) {
  const bool wide = context.options().format == Format::wide;
  return context.invocation.words.empty() ? render_overview(report, wide, context.screen)
                                          : render_detail(report, wide, context.screen);
}

void print_report(const Context& context, const Json& report) {
  if (context.options().quiet) return;
  switch (context.options().format) {
    case Format::json:
    case Format::jsonl:
      return context.print(report);
    case Format::name:
      for (const Json& pool : array(report, "pools"))
        context.out.line(safe_text(pool, "name"));
      return;
    case Format::table:
    case Format::wide:
      return context.out.write(render(context, report));
  }
}

// The other screen of a terminal while status is watched; the old one comes back at the end.
class WatchScreen {
 public:
  explicit WatchScreen(Context& context) : context_(context) {
    if (on_terminal()) context_.out.write("\033[?1049h\033[?25l");
  }
  ~WatchScreen() {
    if (on_terminal()) context_.out.write("\033[?25h\033[?1049l");
  }
  WatchScreen(const WatchScreen&) = delete;
  WatchScreen& operator=(const WatchScreen&) = delete;

  void show(const Json& report) {
    if (on_terminal()) {
      context_.screen = detect_screen(context_.out.fd(), context_.options().no_color);
      context_.out.write("\033[H\033[J");
    } else if (!first_ && !context_.options().wants_json()) {
      context_.out.write("\n");
    }
    first_ = false;
    shown_ = true;
    print_report(context_, report);
  }
  // Something was shown since the last forget().
  [[nodiscard]] bool shown() const { return shown_; }
  void forget() { shown_ = false; }

 private:
  [[nodiscard]] bool on_terminal() const {
    return context_.screen.cursor && !context_.options().wants_json();
  }
  Context& context_;
  bool first_ = true;
  bool shown_ = false;
};

// Takes all events that are there. True: the stream goes on.
Outcome<bool> drain_events(Session& events) {
  do {
    const Outcome<Session::Part> part = events.next();
    if (!part) return part.failure();
    if (part->last) return false;
  } while (events.has_part());
  return true;
}

// The stream of events, after its first answer: from then on no change is missed.
Outcome<Session> subscribe(Context& context) {
  Outcome<Session> events = Session::open(context.options(), context.surroundings);
  if (!events) return events;
  if (const auto begun = events->begin("Events", {{"follow", true}}); !begun) {
    return begun.failure();
  }
  const Outcome<bool> first = drain_events(*events);
  if (!first) return first.failure();
  if (!*first) return Failure{CtlExit::unreachable, "mtd is stopping"};
  return events;
}

Outcome<bool> show_now(Context& context, WatchScreen& screen) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> report =
      fetch_status(*session, context.invocation.words, needs_workers(context));
  if (!report) return report.failure();
  screen.show(*report);
  return true;
}

// Until interrupted (ok), or until the connection ends.
Outcome<CtlExit> follow(Context& context, WatchScreen& screen, const Interrupts& interrupts) {
  Outcome<Session> events = subscribe(context);
  if (!events) return events.failure();
  while (context.out.usable()) {
    if (const auto shown = show_now(context, screen); !shown) return shown.failure();
    const Interruption what = wait_for_input(events->fd(), context.out.fd(), interrupts);
    if (what == Interruption::stop) return CtlExit::ok;
    if (what == Interruption::resized) continue;
    const Outcome<bool> more = drain_events(*events);
    if (!more) return more.failure();
    if (!*more) return Failure{CtlExit::unreachable, "mtd has stopped"};
  }
  return CtlExit::ok;
}

Outcome<CtlExit> watch(Context& context) {
  const Interrupts interrupts(context.out);
  WatchScreen screen(context);
  for (;;) {
    screen.forget();
    Outcome<CtlExit> ended = follow(context, screen, interrupts);
    // A supervisor that was replaced answers again at once at the same socket.
    const bool replaced = !ended && ended.failure().code == CtlExit::unreachable && screen.shown();
    if (!replaced) return ended;
  }
}

}  // namespace

Outcome<CtlExit> run_status(Context& context) {
  if (context.options().watch) return watch(context);
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> report =
      fetch_status(*session, context.invocation.words, needs_workers(context));
  if (!report) return report.failure();
  print_report(context, *report);
  return readiness(*report, context.invocation.words);
}

}  // namespace mtd::ctl
