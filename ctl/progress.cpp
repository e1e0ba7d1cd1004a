#include "ctl/progress.h"

#include <poll.h>

#include <array>
#include <csignal>
#include <optional>

#include <nlohmann/json.hpp>

#include "ctl/display_width.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/render_pools.h"
#include "ctl/status_report.h"

namespace mtd::ctl {
namespace {

// The line, and the events that keep it up to date. Whatever goes wrong with either, the line is
// left out: the call itself is not touched.
class ProgressLine {
 public:
  ProgressLine(Context& context, std::string_view doing) : context_(context), doing_(doing) {
    Outcome<Session> events = Session::open(context.options(), context.surroundings);
    if (!events || !events->begin("Events", {{"follow", true}})) return;
    events_.emplace(*std::move(events));
    show();
  }
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  [[nodiscard]] int fd() const { return events_ ? events_->fd() : -1; }

  void take_events() {
    do {
      const Outcome<Session::Part> part = events_->next();
      if (!part || part->last) {
        clear();
        events_.reset();
        return;
      }
    } while (events_->has_part());
    show();
  }

 private:
  void clear() {
    if (shown_) context_.err.write("\r\033[K");
    shown_ = false;
  }

  void show() {
    Outcome<Session> session = Session::open(context_.options(), context_.surroundings);
    if (!session) return;
    const Outcome<Json> report = fetch_status(*session, selectors(context_), false);
    if (!report) return;
    std::string line(doing_);
    for (const Json& pool : array(*report, "pools")) {
      line += "  " + safe_text(pool, "name") + " " + safe_text(pool, "state") + " " +
              number_phrase(integer(pool, "ready")) + "/" + number_phrase(integer(pool, "want"));
    }
    context_.err.write("\r\033[K" + cut_to_width(line, context_.error_screen.width - 1,
                                                 context_.error_screen.ellipsis()));
    shown_ = true;
  }

  Context& context_;
  std::string_view doing_;
  std::optional<Session> events_;
  bool shown_ = false;
};

// Until the answer can be read.
Interruption wait_for_answer(const Session& session, ProgressLine& line,
                             const Interrupts& interrupts, Duration timeout) {
  const int limit = timeout.is_infinite()
                        ? -1
                        : static_cast<int>(std::min<std::int64_t>(timeout.count_ms() + 1, 1 << 30));
  for (;;) {
    std::array<pollfd, 3> entries{
        {{session.fd(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}, {line.fd(), POLLIN, 0}}};
    const int ready = ::poll(entries.data(), entries.size(), limit);
    if (ready == 0) return Interruption::none;  // reading will say that it timed out
    if (ready < 0) continue;
    if (entries[1].revents != 0 && interrupts.take() == Interruption::stop)
      return Interruption::stop;
    if (entries[0].revents != 0) return Interruption::none;
    if (entries[2].revents != 0) line.take_events();
  }
}

Outcome<Json> call_on_terminal(Context& context, Session& session, std::string_view method,
                               const Json& parameters, std::string_view doing) {
  if (const auto begun = session.begin(method, parameters); !begun) return begun.failure();
  bool interrupted = false;
  {
    const Interrupts interrupts;
    ProgressLine line(context, doing);
    interrupted =
        wait_for_answer(session, line, interrupts, context.options().timeout) == Interruption::stop;
  }
  if (interrupted) {
    context.err.line("mtctl: interrupted; mtd goes on with what it was asked for");
    std::raise(SIGINT);
  }
  Outcome<Session::Part> part = session.next();
  if (!part) return part.failure();
  return std::move(part->parameters);
}

}  // namespace

Outcome<Json> call_with_progress(Context& context, Session& session, std::string_view method,
                                 const Json& parameters, std::string_view doing) {
  const bool shown =
      context.error_screen.cursor && !context.options().quiet && context.options().wait;
  if (!shown) return session.call(method, parameters);
  return call_on_terminal(context, session, method, parameters, doing);
}

}  // namespace mtd::ctl
