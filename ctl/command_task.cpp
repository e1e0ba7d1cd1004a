// wait (for tasks), result, cancel, task, dead, drain, pool: what there is to say about tasks.
#include <algorithm>
#include <ctime>
#include <set>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/stall_note.h"
#include "ctl/table.h"
#include "ctl/task_calls.h"

namespace mtd::ctl {
namespace {

constexpr std::int64_t kPage = 1000;  // tasks in one answer of List

Failure usage(const Context& context, const std::string& message) {
  return {CtlExit::usage, message + "\nTry 'mtctl help " + context.invocation.verb + "'."};
}

std::int64_t wall_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// Every task that `filter` chooses, page by page.
Outcome<Json> list_tasks(const Context& context, Json filter) {
  Json all = Json::array();
  filter["limit"] = kPage;
  for (;;) {
    const Outcome<Json> reply = call_tasks(context, "List", filter);
    if (!reply) return reply.failure();
    const Json& tasks = array(*reply, "tasks");
    all.insert(all.end(), tasks.begin(), tasks.end());
    if (static_cast<std::int64_t>(tasks.size()) < kPage) return all;
    filter["after"] = integer(tasks.back(), "id").value_or(0);
  }
}

std::string age(const Json& task) {
  const auto created = integer(task, "created_ms");
  if (!created) return "-";
  return duration_phrase(std::max<std::int64_t>(0, wall_ms() - *created));
}

std::string note(const Json& task) {
  std::string text = safe_text(task, "reason");
  const Json& error = member(task, "error");
  if (const std::string message = safe_text(error, "message"); !message.empty()) {
    text += (text.empty() ? "" : ": ") + message;
  }
  const Json& progress = member(task, "progress");
  if (text.empty() && progress.is_object()) {
    text = number_phrase(integer(progress, "done")) + "/" +
           number_phrase(integer(progress, "total")) + " " + safe_text(progress, "text");
  }
  return text;
}

Outcome<CtlExit> print_tasks(Context& context, const Json& tasks) {
  if (context.options().format == Format::json) {
    context.print(Json{{"tasks", tasks}});
  } else if (context.options().format == Format::jsonl) {
    for (const Json& task : tasks)
      context.print(task);
  } else if (context.options().format == Format::name) {
    for (const Json& task : tasks)
      context.out.line(number_phrase(integer(task, "id")));
  } else if (!tasks.empty()) {
    Table table({{"ID", Align::right, 0, 0, false},
                 {"POOL", Align::left, 0, 0, false},
                 {"STATE", Align::left, 0, 0, false},
                 {"ATTEMPTS", Align::right, 0, 3, false},
                 {"AGE", Align::right, 0, 2, false},
                 {"NAME", Align::left, 0, 1, false},
                 {"WORKER", Align::left, 0, 1, false},
                 {"NOTE", Align::left, 0, 4, true}});
    for (const Json& task : tasks) {
      table.add_row({{number_phrase(integer(task, "id"))},
                     {safe_text(task, "pool")},
                     {safe_text(task, "state")},
                     {number_phrase(integer(task, "attempt"))},
                     {age(task)},
                     {safe_text(task, "name")},
                     {safe_text(task, "worker")},
                     {note(task)}});
    }
    context.out.write(table.render(context.screen));
  }
  return CtlExit::ok;
}

Outcome<Json> ask_for_task(Context& context, std::int64_t id) {
  Outcome<Json> reply = call_tasks(context, "Show", {{"id", id}});
  if (reply || reply.failure().code != CtlExit::no_such) return reply;
  return Failure{CtlExit::no_such, "there is no task " + std::to_string(id) +
                                       ", or no more; 'mtctl task ls' lists those that are kept"};
}

Outcome<CtlExit> show_task(Context& context, std::int64_t id) {
  const Outcome<Json> reply = ask_for_task(context, id);
  if (!reply) return reply.failure();
  const Json& task = member(*reply, "task");
  if (context.options().wants_json()) {
    context.print(task);
    return CtlExit::ok;
  }
  std::string line = "task " + std::to_string(id) + " of " + safe_text(task, "pool") + ": " +
                     safe_text(task, "state");
  if (const std::string more = note(task); !more.empty()) line += ", " + more;
  context.out.line(line);
  for (const char* name : {"uid", "name", "group", "worker"}) {
    if (const std::string value = safe_text(task, name); !value.empty()) {
      context.out.line("  " + std::string(name) + ": " + value);
    }
  }
  context.out.line("  put " + age(task) + " ago; attempts " +
                   number_phrase(integer(task, "attempt")) + ", failures " +
                   number_phrase(integer(task, "failures")) + ", crashes " +
                   number_phrase(integer(task, "crashes")));
  for (const Json& attempt : array(task, "history")) {
    const auto begin = integer(attempt, "started_ms");
    const auto end = integer(attempt, "ended_ms");
    std::string text = "  attempt " + number_phrase(integer(attempt, "attempt")) + " by " +
                       safe_text(attempt, "worker") + ": " + safe_text(attempt, "outcome");
    if (begin && end) text += " after " + duration_phrase(*end - *begin);
    if (const std::string detail = safe_text(attempt, "detail"); !detail.empty()) {
      text += ", " + detail;
    }
    context.out.line(text);
  }
  return CtlExit::ok;
}

Outcome<CtlExit> list(Context& context, const std::vector<std::string>& words, Json filter) {
  if (words.size() > 1) return usage(context, "name one pool, or none for the tasks of all");
  if (!words.empty()) filter["pool"] = words[0];
  if (const std::string group = context.invocation.value("--group"); !group.empty()) {
    filter["group"] = group;
  }
  const Outcome<Json> tasks = list_tasks(context, std::move(filter));
  if (!tasks) return tasks.failure();
  return print_tasks(context, *tasks);
}

// {"ids": …} or {"pool": …} of the words.
Outcome<Json> chosen(Context& context, const std::vector<std::string>& words, bool pool_allowed) {
  if (words.empty())
    return usage(context, pool_allowed ? "which tasks? Give their numbers, or a pool"
                                       : "which tasks? Give their numbers");
  if (pool_allowed && words.size() == 1 && !is_task_id(words[0])) return Json{{"pool", words[0]}};
  const Outcome<std::vector<std::int64_t>> ids = task_ids(words);
  if (!ids) return ids.failure();
  return Json{{"ids", *ids}};
}

Outcome<CtlExit> count_changed(Context& context, std::string_view method, const Json& parameters,
                               const std::string& did) {
  const Outcome<Json> reply = call_tasks_at_length(context, method, parameters, {});
  if (!reply) return reply.failure();
  if (context.options().wants_json()) {
    context.print(*reply);
  } else if (!context.options().quiet) {
    context.out.line(counted(integer(*reply, "count").value_or(0), "task") + " " + did);
  }
  return CtlExit::ok;
}

// A cancel that met no task at all.
bool is_nobody(const Json& reply) {
  for (const char* count : {"cancelled", "asked", "finished"}) {
    if (integer(reply, count).value_or(0) > 0) return false;
  }
  return true;
}

// One line for a task that has ended.
void print_end(Context& context, std::int64_t id, const End& end) {
  if (context.options().wants_json()) {
    Json object = end_as_json(end);
    object["id"] = id;
    context.print(object);
  } else if (!context.options().quiet) {
    context.out.line(std::to_string(id) + " " + escape_for_terminal(end.state) +
                     (end.is_done() ? "" : ": " + failure_phrase(end)));
  }
}

struct Waiting {
  std::size_t ended = 0;
  bool all_done = true;
  bool missing = false;
};

Outcome<CtlExit> wait_for_tasks(Context& context, const std::vector<std::int64_t>& ids, bool any) {
  ClientOptions options;
  options.keep = true;
  Outcome<Client> client = connect_client(context, std::move(options), context.options().timeout);
  if (!client) return client.failure();
  Waiting waiting;
  std::set<std::int64_t> open(ids.begin(), ids.end());
  StallNote note(context, *patience_of(context), stalled_at(context));
  for (const std::int64_t id : ids) {
    (void)client->watch(id, [&context, &waiting, &open, &note, id](const End& end) {
      open.erase(id);
      note.heard();
      ++waiting.ended;
      waiting.all_done = waiting.all_done && end.is_done();
      waiting.missing = waiting.missing || end.is_refused();
      print_end(context, id, end);
    });
  }
  const Interrupts interrupts;
  const Duration timeout = context.options().timeout;
  const Instant deadline = monotonic_now() + timeout;
  while (waiting.ended < ids.size() && !(any && waiting.ended > 0)) {
    if (monotonic_now() >= deadline) {
      return Failure{CtlExit::timed_out,
                     counted(static_cast<std::int64_t>(ids.size() - waiting.ended), "task") +
                         " did not end within --timeout; they go on"};
    }
    if (!open.empty()) note.watch_task(*open.begin());
    std::vector<pollfd> others{{interrupts.fd(), POLLIN, 0}};
    note.add_to(others);
    if (const Result<void> turned = client->turn(others, note.due_in_ms(deadline)); !turned) {
      return client_failure(turned.error());
    }
    if (others[0].revents != 0 && interrupts.take() == Interruption::stop) {
      return Failure{static_cast<CtlExit>(130), "interrupted; the tasks go on"};
    }
    note.look();
  }
  if (waiting.missing) return CtlExit::no_such;
  return waiting.all_done ? CtlExit::ok : CtlExit::failed;
}

}  // namespace

Outcome<CtlExit> run_wait_for_tasks(Context& context) {
  const Invocation& invocation = context.invocation;
  std::vector<std::int64_t> ids;
  if (const std::string group = invocation.value("--group"); !group.empty()) {
    if (!invocation.words.empty())
      return usage(context, "give numbers of tasks or --group, not both");
    const Outcome<Json> tasks = list_tasks(context, {{"group", group}});
    if (!tasks) return tasks.failure();
    for (const Json& task : *tasks)
      ids.push_back(integer(task, "id").value_or(0));
    if (ids.empty()) {
      return Failure{CtlExit::no_such, "no task is in group " + escape_for_terminal(group)};
    }
  } else {
    const Outcome<std::vector<std::int64_t>> given = task_ids(invocation.words);
    if (!given) return given.failure();
    ids = *given;
  }
  return wait_for_tasks(context, ids, invocation.has("--any"));
}

Outcome<CtlExit> run_result(Context& context) {
  const Outcome<std::vector<std::int64_t>> ids = task_ids(context.invocation.words);
  if (!ids) return ids.failure();
  const Outcome<Json> shown = ask_for_task(context, ids->front());
  if (!shown) return shown.failure();
  const std::string state = safe_text(member(*shown, "task"), "state");
  const bool runs = state == "scheduled" || state == "waiting" || state == "running";
  if (runs) {
    return Failure{CtlExit::not_ready, "task " + std::to_string(ids->front()) + " is " + state +
                                           "; 'mtctl wait' waits for its end"};
  }
  ClientOptions options;
  options.keep = true;
  Outcome<Client> client = connect_client(context, std::move(options), context.options().timeout);
  if (!client) return client.failure();
  Future future = client->watch(ids->front());
  const Duration timeout = context.options().timeout;
  const Result<End> end =
      future.get((timeout.is_infinite() ? *patience_of(context) : timeout).count_ms());
  if (!end && end.error().errno_value == ETIMEDOUT && !timeout.is_infinite())
    return no_answer_in_time();
  if (!end) return client_failure(end.error());
  if (end->is_refused()) return Failure{CtlExit::no_such, failure_phrase(*end)};
  if (context.options().wants_json()) {
    context.print(end_as_json(*end));
  } else if (end->is_done()) {
    context.out.write(printed_result(*end));
  } else {
    return Failure{CtlExit::failed, failure_phrase(*end)};
  }
  return end->is_done() ? CtlExit::ok : CtlExit::failed;
}

Outcome<CtlExit> run_cancel(Context& context) {
  const Invocation& invocation = context.invocation;
  Json parameters = Json::object();
  if (const std::string group = invocation.value("--group"); !group.empty()) {
    if (!invocation.words.empty())
      return usage(context, "give numbers of tasks or --group, not both");
    parameters["group"] = group;
  } else {
    Outcome<Json> given = chosen(context, invocation.words, false);
    if (!given) return given.failure();
    parameters = *std::move(given);
  }
  if (invocation.has("--now")) parameters["now"] = true;
  const Outcome<Json> reply = call_tasks_at_length(context, "Cancel", parameters, {});
  if (!reply) return reply.failure();
  if (const std::string group = text(parameters, "group"); !group.empty() && is_nobody(*reply)) {
    return Failure{CtlExit::no_such, "no task is in group " + escape_for_terminal(group)};
  }
  if (context.options().wants_json()) {
    context.print(*reply);
  } else if (!context.options().quiet) {
    std::string line = counted(integer(*reply, "cancelled").value_or(0), "task") + " cancelled";
    if (const auto asked = integer(*reply, "asked"); asked.value_or(0) > 0) {
      line += ", " + std::to_string(*asked) + " running told to stop";
    }
    if (const auto finished = integer(*reply, "finished"); finished.value_or(0) > 0) {
      line += ", " + std::to_string(*finished) + " had ended already, or are not known";
    }
    context.out.line(line);
  }
  return CtlExit::ok;
}

Outcome<CtlExit> run_task(Context& context) {
  const std::string& what = context.invocation.words.front();
  const std::vector<std::string> words(context.invocation.words.begin() + 1,
                                       context.invocation.words.end());
  if (what == "ls") {
    Json filter = Json::object();
    if (const std::string state = context.invocation.value("--state"); !state.empty()) {
      filter["states"] = Json::array({state});
    }
    return list(context, words, std::move(filter));
  }
  if (what == "show" || what == "retry" || what == "rm") {
    const Outcome<Json> which = chosen(context, words, false);
    if (!which) return which.failure();
    if (what == "retry") return count_changed(context, "Retry", *which, "will be tried again");
    if (what == "rm") return count_changed(context, "Remove", *which, "removed");
    for (const Json& id : array(*which, "ids")) {
      const Outcome<CtlExit> shown = show_task(context, id.get<std::int64_t>());
      if (!shown) return shown;
    }
    return CtlExit::ok;
  }
  return usage(context,
               "'task' knows ls, show, retry and rm, not '" + escape_for_terminal(what) + "'");
}

Outcome<CtlExit> run_dead(Context& context) {
  const std::string& what = context.invocation.words.front();
  const std::vector<std::string> words(context.invocation.words.begin() + 1,
                                       context.invocation.words.end());
  if (what == "ls") return list(context, words, {{"states", Json::array({"dead"})}});
  if (what != "retry" && what != "purge") {
    return usage(context,
                 "'dead' knows ls, retry and purge, not '" + escape_for_terminal(what) + "'");
  }
  const Outcome<Json> which = chosen(context, words, true);
  if (!which) return which.failure();
  if (what == "retry") return count_changed(context, "Retry", *which, "will be tried again");
  return count_changed(context, "Remove", *which, "removed");
}

Outcome<CtlExit> run_drain(Context& context) {
  Json parameters{{"pool", context.invocation.words.front()}};
  if (context.invocation.has("--close")) parameters["close"] = true;
  if (!context.options().wait) parameters["wait"] = false;
  const Outcome<Json> reply =
      call_tasks_at_length(context, "Drain", parameters, context.invocation.words.front());
  if (!reply) return reply.failure();
  const std::int64_t remaining = integer(*reply, "remaining").value_or(0);
  if (context.options().wants_json()) {
    context.print(*reply);
  } else if (!context.options().quiet) {
    context.out.line(remaining == 0 ? "nothing waits or runs"
                                    : counted(remaining, "task") + " left");
  }
  return CtlExit::ok;
}

Outcome<CtlExit> run_pool(Context& context) {
  const std::vector<std::string>& words = context.invocation.words;
  if (words.front() == "ls") {
    Json parameters = Json::object();
    if (words.size() > 1) parameters["pool"] = words[1];
    const Outcome<Json> reply = call_tasks(context, "Stats", parameters);
    if (!reply) return reply.failure();
    if (context.options().wants_json()) {
      context.print(*reply);
      return CtlExit::ok;
    }
    Table table({{"POOL", Align::left, 0, 0, false},
                 {"MODE", Align::left, 0, 1, false},
                 {"STATE", Align::left, 0, 0, false},
                 {"BUSY", Align::right, 0, 0, false},
                 {"WAITING", Align::right, 0, 0, false},
                 {"LATER", Align::right, 0, 2, false},
                 {"DONE", Align::right, 0, 0, false},
                 {"DEAD", Align::right, 0, 0, false}});
    for (const Json& pool : array(*reply, "pools")) {
      const char* state = is_true(pool, "closed") ? "closed" : "open";
      table.add_row(
          {{safe_text(pool, "pool")},
           {safe_text(pool, "mode")},
           {is_true(pool, "paused") ? "paused" : state},
           {number_phrase(integer(pool, "busy")) + "/" + number_phrase(integer(pool, "workers"))},
           {number_phrase(integer(pool, "waiting"))},
           {number_phrase(integer(pool, "scheduled"))},
           {number_phrase(integer(pool, "done"))},
           {number_phrase(integer(pool, "dead"))}});
    }
    if (!table.empty()) context.out.write(table.render(context.screen));
    return CtlExit::ok;
  }
  if (words.front() != "pause" && words.front() != "resume") {
    return usage(context, "'pool' knows ls, pause and resume, not '" +
                              escape_for_terminal(words.front()) + "'");
  }
  if (words.size() != 2)
    return usage(context,
                 "'pool " + words.front() + "' needs one pool; 'mtctl pool ls' lists them");
  const bool pause = words.front() == "pause";
  const Outcome<Json> reply = call_tasks(context, pause ? "Pause" : "Resume", {{"pool", words[1]}});
  if (!reply) return reply.failure();
  if (!context.options().quiet && !context.options().wants_json()) {
    context.out.line(escape_for_terminal(words[1]) +
                     (pause ? ": paused; puts go on" : ": hands out tasks"));
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
