#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/render_status.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

void append(std::string& phrase, const std::string& more) {
  if (!more.empty()) phrase += (phrase.empty() ? "" : ", ") + more;
}

// What happens next first, then why, then what the worker says of itself.
std::string worker_note(const Json& worker) {
  std::string note;
  const std::string state = text(worker, "state");
  if (const auto next = integer(worker, "next_attempt_ms")) {
    append(note, "retry in " + duration_phrase(next));
  }
  if (const std::string ending = safe_text(worker, "ending"); !ending.empty()) append(note, ending);
  if (state == "backoff" || state == "failed" || state == "completed") {
    append(note, exit_phrase(member(worker, "last_exit")));
  }
  append(note, safe_text(worker, "status_text"));
  append(note, safe_text(worker, "probe_text"));
  return note;
}

std::string tasks_phrase(const Json& worker) {
  std::string result = number_phrase(integer(worker, "tasks"));
  if (const auto limit = integer(worker, "task_limit")) result += "/" + std::to_string(*limit);
  return result;
}

std::vector<Column> detail_columns(bool wide) {
  std::vector<Column> columns{{"WORKER", Align::left, 7},       {"STATE", Align::left, 8},
                              {"PID", Align::right, 5},         {"UP", Align::right, 5, 6},
                              {"TASKS", Align::right, 0, 3},    {"RESTARTS", Align::right, 0, 5},
                              {"RECYCLED", Align::right, 0, 1}, {"CPU", Align::right, 5, 2},
                              {"RSS", Align::right, 5, 4}};
  if (wide) {
    columns.push_back({"REV", Align::right, 0, 8});
    columns.push_back({"INC", Align::right, 0, 7});
    columns.push_back({"STARTED", Align::left, 0, 9});
    columns.push_back({"CGROUP", Align::left, 0, 7});
  }
  columns.push_back({"NOTE", Align::left, 0, 0, true});
  return columns;
}

std::string or_dash(std::string text) {
  return text.empty() ? "-" : text;
}

std::vector<Cell> worker_row(const Json& worker, bool wide) {
  const std::string state = safe_text(worker, "state");
  const bool alive = member(worker, "pid").is_number();
  std::vector<Cell> row{{safe_text(worker, "name")},
                        {state, colour_of_state(state)},
                        {number_phrase(integer(worker, "pid"))},
                        {alive ? duration_phrase(integer(worker, "uptime_ms")) : "-"},
                        {tasks_phrase(worker)},
                        {number_phrase(integer(worker, "restarts"))},
                        {number_phrase(integer(worker, "recycled"))},
                        {percent_phrase(member(worker, "cpu_pct"))},
                        {size_phrase(integer(worker, "rss_bytes"))}};
  if (wide) {
    row.push_back({number_phrase(integer(worker, "revision"))});
    row.push_back({number_phrase(integer(worker, "incarnation"))});
    row.push_back({or_dash(safe_text(worker, "started"))});
    row.push_back({or_dash(safe_text(worker, "cgroup"))});
  }
  row.push_back({worker_note(worker)});
  return row;
}

// The older process of a slot that is being replaced.
std::vector<Cell> retiring_row(const Json& process, bool wide) {
  const std::string state = safe_text(process, "state");
  std::vector<Cell> row{
      {"  (old)"}, {state, colour_of_state(state)}, {number_phrase(integer(process, "pid"))}};
  for (int i = 0; i < 6; ++i)
    row.push_back({""});
  if (wide) {
    row.push_back({""});
    row.push_back({number_phrase(integer(process, "incarnation"))});
    row.push_back({""});
    row.push_back({""});
  }
  row.push_back({safe_text(process, "ending")});
  return row;
}

std::string breaker_phrase(const Json& pool) {
  const Json& breaker = member(pool, "breaker");
  if (!is_true(breaker, "open")) return {};
  std::string result =
      "crash limit reached: " + number_phrase(integer(breaker, "crashes_in_window")) + " in " +
      duration_phrase(integer(breaker, "window_ms"));
  if (const auto retry = integer(breaker, "retry_ms")) {
    result += ", next try in " + duration_phrase(retry);
  }
  return result;
}

std::string socket_phrase(const Json& socket, const Screen& screen) {
  std::string result = "listens on " + safe_text(socket, "address");
  if (const auto count = integer(socket, "sockets"); count.value_or(1) > 1)
    result += ", " + std::to_string(*count) + " sockets";
  if (const auto waiting = integer(socket, "waiting"); waiting.value_or(0) > 0)
    result += ", " + std::to_string(*waiting) + " connections waiting";
  if (const std::string problem = safe_text(socket, "problem"); !problem.empty())
    result += "; " + screen.paint(problem, Colour::red);
  return result;
}

std::string pool_head(const Json& pool, const Screen& screen) {
  const std::string state = safe_text(pool, "state");
  const auto want = integer(pool, "want");
  const auto file = integer(pool, "want_file");
  std::string facts =
      "  " + number_phrase(integer(pool, "ready")) + "/" + number_phrase(want) + " ready";
  const Json& scaling = member(pool, "scaling");
  if (scaling.is_object()) {
    facts += " (" + number_phrase(integer(scaling, "min")) + " to " +
             number_phrase(integer(scaling, "max")) +
             (is_true(scaling, "by_hand") ? ", set by hand)" : ")");
  } else if (want && file && *want != *file)
    facts += " (file: " + std::to_string(*file) + ")";
  if (const auto busy = integer(pool, "busy")) facts += "  " + std::to_string(*busy) + " busy";
  facts += "  rev " + number_phrase(integer(pool, "revision"));
  if (const auto outdated = integer(pool, "outdated"); outdated.value_or(0) > 0) {
    facts += " (" + std::to_string(*outdated) + " outdated)";
  }
  facts += "  since " + duration_phrase(integer(pool, "since_ms"));
  std::string result = screen.paint(safe_text(pool, "name"), Colour::bold) + "  " +
                       screen.paint(state, colour_of_state(state)) + facts + "\n";
  if (const std::string note = safe_text(pool, "note"); !note.empty()) result += "  " + note + "\n";
  for (const Json& socket : array(pool, "listen"))
    result += "  " + socket_phrase(socket, screen) + "\n";
  if (const std::string breaker = breaker_phrase(pool); !breaker.empty()) {
    result += "  " + screen.paint(breaker, Colour::yellow) + "\n";
  }
  return result;
}

}  // namespace

std::string render_detail(const Json& report, bool wide, const Screen& screen) {
  std::string result;
  for (const Json& pool : array(report, "pools")) {
    Table table(detail_columns(wide));
    for (const Json& worker : array(pool, "workers")) {
      table.add_row(worker_row(worker, wide));
      for (const Json& old : array(worker, "retiring"))
        table.add_row(retiring_row(old, wide));
    }
    if (!result.empty()) result += "\n";
    result += pool_head(pool, screen) + (table.empty() ? std::string() : table.render(screen));
  }
  return result;
}

}  // namespace mtd::ctl
