#include "ctl/render_why.h"

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/display_width.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

std::string cpu_phrase(const Json& exit) {
  const auto user = integer(exit, "user_cpu_ms");
  const auto system = integer(exit, "system_cpu_ms");
  if (!user && !system) return "-";
  return duration_phrase(user.value_or(0) + system.value_or(0));
}

Table exits_of(const Json& pool) {
  Table table({{"WORKER", Align::left, 7},
               {"AT", Align::left, 0, 5},
               {"PID", Align::right, 5, 4},
               {"CPU", Align::right, 0, 2},
               {"MAX RSS", Align::right, 0, 3},
               {"PLANNED", Align::left, 0, 1},
               {"HOW IT ENDED", Align::left, 0, 0, true}});
  for (const Json& worker : array(pool, "workers")) {
    for (const Json& exit : array(worker, "exits")) {
      const bool planned = is_true(exit, "planned");
      table.add_row({{safe_text(worker, "name")},
                     {safe_text(exit, "at")},
                     {number_phrase(integer(exit, "pid"))},
                     {cpu_phrase(exit)},
                     {size_phrase(integer(exit, "max_rss_bytes"))},
                     {planned ? "yes" : "no"},
                     {exit_phrase(exit), planned ? Colour::plain : Colour::yellow}});
    }
  }
  return table;
}

}  // namespace

std::string render_why(const Json& reply, bool wide, const Screen& screen) {
  std::string result;
  for (const Json& pool : array(reply, "pools")) {
    if (!result.empty()) result += "\n";
    const std::string state = safe_text(pool, "state");
    result += screen.paint(safe_text(pool, "name"), Colour::bold) + "  " +
              screen.paint(state, colour_of_state(state)) + "  " +
              number_phrase(integer(pool, "ready")) + "/" + number_phrase(integer(pool, "want")) +
              " ready\n";
    for (const std::string& line : strings(pool, "lines")) {
      result += wrap_to_width(escape_for_terminal(line), 2, screen.width);
    }
    if (!wide) continue;
    const Table exits = exits_of(pool);
    if (!exits.empty())
      result += "\nLast exits, latest first for each worker:\n" + exits.render(screen);
  }
  return result;
}

}  // namespace mtd::ctl
