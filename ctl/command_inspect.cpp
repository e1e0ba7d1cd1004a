// why, tree, limits: looking closer.
#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/process_tree.h"
#include "ctl/render_pools.h"
#include "ctl/render_why.h"
#include "ctl/session.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

Outcome<Json> ask(Context& context, std::string_view method, const Json& parameters) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  return session->call(method, parameters);
}

Outcome<Json> fetch_tree(Context& context) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  Json parameters = Json::object();
  if (const auto select = selectors(context); !select.empty()) parameters["select"] = select;
  if (const auto begun = session->begin("Tree", parameters); !begun) return begun.failure();
  Json workers = Json::array();
  for (bool last = false; !last;) {
    const Outcome<Session::Part> part = session->next();
    if (!part) {
      if (!session->can_begin_again()) return part.failure();
      workers = Json::array();
      if (const auto begun = session->begin("Tree", parameters); !begun) return begun.failure();
      continue;
    }
    for (const Json& worker : array(part->parameters, "workers"))
      workers.push_back(worker);
    last = part->last;
  }
  return Json{{"workers", std::move(workers)}};
}

std::vector<TreeLine> lines_of(const Json& worker, const std::map<int, ProcessFacts>& processes) {
  std::vector<int> members;
  for (const Json& pid : array(worker, "pids")) {
    if (pid.is_number_integer()) members.push_back(pid.get<int>());
  }
  const int main = static_cast<int>(integer(worker, "pid").value_or(0));
  return worker_tree(main, members, processes, read_arguments);
}

std::string amount(const Json& limit, std::string_view name) {
  const auto value = integer(limit, name);
  if (!value) return "-";
  return text(limit, "unit") == "bytes" ? size_phrase(value) : std::to_string(*value);
}

std::string host_lines(const Json& host, const Screen& screen) {
  std::string result = "\nHost\n";
  const auto yes_no = [&](std::string_view name) { return is_true(host, name) ? "yes" : "no"; };
  result += "  cgroups: " + safe_text(host, "cgroup") + "\n";
  result +=
      std::string("  children of dead workers come back to mtd: ") + yes_no("subreaper") + "\n";
  result += std::string("  run by a service manager: ") + yes_no("service_manager") + "\n";
  result += "  room for workers: " + number_phrase(integer(host, "capacity_workers")) + "\n";
  for (const std::string& line : strings(host, "cannot")) {
    result += "  " + screen.paint("cannot: ", Colour::yellow) + escape_for_terminal(line) + "\n";
  }
  return result;
}

std::string render_limits(const Json& reply, const Screen& screen) {
  Table table({{"LIMIT", Align::left, 0},
               {"USED", Align::right, 0},
               {"OF", Align::right, 0},
               {"UNIT", Align::left, 0, 1},
               {"NOTE", Align::left, 0, 0, true}});
  for (const Json& limit : array(reply, "limits")) {
    const auto used = integer(limit, "used");
    const auto most = integer(limit, "limit");
    const bool full = used && most && *used >= *most;
    table.add_row({{safe_text(limit, "name")},
                   {amount(limit, "used"), full ? Colour::red : Colour::plain},
                   {amount(limit, "limit")},
                   {safe_text(limit, "unit")},
                   {safe_text(limit, "note")}});
  }
  return table.render(screen) + host_lines(member(reply, "host"), screen);
}

}  // namespace

Outcome<CtlExit> run_why(Context& context) {
  const Outcome<Json> reply = ask(context, "Why", {{"select", selectors(context)}});
  if (!reply) return reply.failure();
  if (context.options().quiet) return CtlExit::ok;
  if (context.options().wants_json()) {
    context.print(*reply);
  } else {
    context.out.write(render_why(*reply, context.options().format == Format::wide, context.screen));
  }
  return CtlExit::ok;
}

Outcome<CtlExit> run_tree(Context& context) {
  const Outcome<Json> reply = fetch_tree(context);
  if (!reply) return reply.failure();
  if (context.options().quiet) return CtlExit::ok;
  if (context.options().wants_json()) {
    context.print(*reply);
    return CtlExit::ok;
  }
  const std::map<int, ProcessFacts> processes = all_processes();
  for (const Json& worker : array(*reply, "workers")) {
    const std::string name = safe_text(worker, "name");
    context.out.write(render_tree(name, lines_of(worker, processes), context.screen));
  }
  return CtlExit::ok;
}

Outcome<CtlExit> run_limits(Context& context) {
  const Outcome<Json> reply = ask(context, "Limits", Json::object());
  if (!reply) return reply.failure();
  if (context.options().quiet) return CtlExit::ok;
  if (context.options().wants_json()) {
    context.print(*reply);
  } else {
    context.out.write(render_limits(*reply, context.screen));
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
