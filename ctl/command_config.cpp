// config check, show, schema, diff, new, migrate: files on this side, the daemon only for diff.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "config/loader.h"
#include "config/plan.h"
#include "config/tools.h"
#include "ctl/command_migrate.h"
#include "ctl/commands.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/render_plan.h"
#include "ctl/session.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

Failure usage(const std::string& message) {
  return {CtlExit::usage, message + "\nTry 'mtctl help config'."};
}

// What was read, for people: the file when it is one, else the directory.
std::string place_of(const config::Source& source) {
  return escape_for_terminal(source.path.empty() ? config::default_path() : source.path);
}

Json as_json(const std::vector<config::Problem>& problems) {
  Json result = Json::array();
  for (const config::Problem& problem : problems) {
    result.push_back({{"file", problem.file},
                      {"line", problem.line},
                      {"column", problem.column},
                      {"message", problem.message}});
  }
  return result;
}

// Every problem on a line of its own on stderr.
Failure invalid(const Context& context, const std::vector<config::Problem>& problems) {
  for (const config::Problem& problem : problems) {
    context.err.line(escape_for_terminal(problem.text()));
  }
  return {CtlExit::invalid_configuration,
          counted(static_cast<std::int64_t>(problems.size()), "problem") + " in the configuration"};
}

std::string summary(const config::Configuration& configuration, const config::Source& source) {
  std::int64_t workers = 0;
  for (const config::PoolSpec& pool : configuration.pools)
    workers += pool.workers;
  return "configuration ok: " +
         counted(static_cast<std::int64_t>(configuration.pools.size()), "pool") + ", " +
         counted(workers, "worker") + " (" + place_of(source) + ")";
}

Outcome<CtlExit> check(Context& context, const config::Source& source) {
  const config::LoadResult loaded = config::load(source);
  if (context.options().wants_json()) {
    context.print({{"ok", loaded.errors.empty()},
                   {"errors", as_json(loaded.errors)},
                   {"warnings", loaded.configuration.warnings},
                   {"files", loaded.configuration.files}});
    return loaded.errors.empty() ? CtlExit::ok : CtlExit::invalid_configuration;
  }
  if (!loaded.errors.empty()) return invalid(context, loaded.errors);
  for (const std::string& warning : loaded.configuration.warnings) {
    context.err.line("warning: " + escape_for_terminal(warning));
  }
  if (!context.options().quiet) context.out.line(summary(loaded.configuration, source));
  return CtlExit::ok;
}

std::string origin_of(const OrderedJson& entry) {
  const OrderedJson& origin = entry.at("origin");
  return origin.is_string() ? origin.get<std::string>() : "default";
}

// Of one pool, or of the daemon: {"KEY": {"value": …, "origin": "FILE:LINE:COL" or null}}.
std::string keys_as_text(const std::string& title, const OrderedJson& keys, const Screen& screen) {
  Table table({{"KEY", Align::left, 16, 0, false},
               {"VALUE", Align::left, 12, 0, false},
               {"FROM", Align::left, 0, 0, true}});
  for (const auto& item : keys.items()) {
    const std::string origin = origin_of(item.value());
    const Colour colour = origin == "default" ? Colour::dim : Colour::plain;
    table.add_row({{escape_for_terminal(item.key()), Colour::plain},
                   {escape_for_terminal(item.value().at("value").dump()), colour},
                   {escape_for_terminal(origin), colour}});
  }
  return screen.paint(escape_for_terminal(title), Colour::bold) + "\n" + table.render(screen);
}

std::string shown_as_text(const OrderedJson& shown, const Screen& screen) {
  std::string result;
  if (shown.contains("daemon")) result = keys_as_text("daemon", shown.at("daemon"), screen);
  for (const auto& pool : shown.at("pools").items()) {
    result += (result.empty() ? "" : "\n") + keys_as_text(pool.key(), pool.value(), screen);
  }
  return result;
}

Outcome<CtlExit> show(Context& context, const config::Source& source, const std::string& pool) {
  const config::LoadResult loaded = config::load(source);
  if (!loaded.errors.empty()) return invalid(context, loaded.errors);
  const auto wanted = pool.empty() ? std::nullopt : std::optional<std::string_view>(pool);
  const Result<std::string> shown = config::show(loaded, wanted, config::Form::json);
  if (!shown) return Failure{CtlExit::no_such, escape_for_terminal(shown.error().message)};
  const OrderedJson document = OrderedJson::parse(*shown);
  if (context.options().wants_json()) {
    const bool indented = context.options().format == Format::json;
    context.out.line(document.dump(indented ? 2 : -1, ' ', context.screen.terminal));
  } else {
    context.out.write(shown_as_text(document, context.screen));
  }
  return CtlExit::ok;
}

Json plan_as_json(const config::Plan& plan) {
  Json pools = Json::array();
  for (const config::PoolChange& change : plan.pools) {
    pools.push_back({{"pool", change.pool},
                     {"apply", config::apply_name(change.apply)},
                     {"keys", change.keys}});
  }
  return {{"pools", std::move(pools)},
          {"daemon_keys", plan.daemon_keys},
          {"daemon_restart_keys", plan.daemon_restart_keys}};
}

std::vector<int> numbers_of(std::string_view version) {
  std::vector<int> numbers{0};
  for (const char letter : version) {
    if (letter == '.') numbers.push_back(0);
    const bool digit = letter >= '0' && letter <= '9' && numbers.back() < 1'000'000;
    if (digit) numbers.back() = numbers.back() * 10 + (letter - '0');
  }
  return numbers;
}

// The daemon's configuration has what this mtctl does not know, or lacks what it must have: one of
// them is of another version, and says which to use.
Failure other_version(Session& session, const std::string& problem) {
  const Outcome<Json> reply = session.call("Status", Json::object());
  const std::string theirs = reply ? safe_text(member(*reply, "daemon"), "version") : std::string();
  const std::vector<int> daemon = numbers_of(theirs), own = numbers_of(MTD_VERSION);
  const std::string what_to_do =
      daemon > own ? "The daemon is the newer one; use the mtctl that was installed with it."
      : daemon < own
          ? "mtctl is the newer one; 'mtctl upgrade' lets the daemon follow."
          : "They are builds of one version that differ; use mtctl and mtd of one build.";
  return {CtlExit::failed, "this is mtctl " MTD_VERSION " and the daemon is mtd " +
                               (theirs.empty() ? "of a version it does not tell" : theirs) +
                               ", whose configuration it cannot compare with the files. " +
                               what_to_do + "\n(" + problem + ")"};
}

Outcome<CtlExit> diff(Context& context, config::Source source) {
  Outcome<Session> session = Session::open(context.options(), context.surroundings);
  if (!session) return session.failure();
  const Outcome<Json> reply = session->call("GetConfig", Json::object());
  if (!reply) return reply.failure();
  const Result<config::Configuration> current = config::decode(member(*reply, "config").dump());
  if (!current) {
    return other_version(*session, escape_for_terminal(current.error().message));
  }
  if (source.path.empty()) source.path = text(*reply, "config_path");
  const config::LoadResult wanted = config::load(source);
  if (!wanted.errors.empty()) return invalid(context, wanted.errors);
  const Json plan = plan_as_json(config::make_plan(*current, wanted.configuration));
  if (context.options().wants_json()) {
    context.print(plan);
  } else if (!context.options().quiet) {
    const std::string lines = render_plan(plan, context.screen);
    context.out.write(lines.empty()
                          ? "no differences: the daemon runs what " + place_of(source) + " says\n"
                          : lines);
  }
  return CtlExit::ok;
}

}  // namespace

Outcome<CtlExit> run_config(Context& context) {
  const std::vector<std::string>& words = context.invocation.words;
  const std::string& what = words.front();
  const std::string word = words.size() > 1 ? words[1] : std::string();
  config::Source source{context.invocation.value("--config"), true};
  if (what == "check") {
    if (!word.empty()) source.path = word;
    return check(context, source);
  }
  if (what == "show") return show(context, source, word);
  if (what == "migrate") {
    return word.empty() ? usage("'config migrate' needs the path of a supervisord.conf")
                        : migrate_config(context, word);
  }
  if (!word.empty() && (what == "diff" || what == "schema" || what == "new")) {
    return usage("'config " + what + "' takes no '" + escape_for_terminal(word) + "'");
  }
  if (what == "diff") return diff(context, source);
  if (what == "schema") {
    const std::string schema = config::schema();
    context.out.write(schema + (schema.empty() || schema.back() != '\n' ? "\n" : ""));
    return CtlExit::ok;
  }
  if (what == "new") {
    context.out.write(config::starter());
    return CtlExit::ok;
  }
  return usage("'config " + escape_for_terminal(what) +
               "' is not one of: check, show, diff, schema, new, migrate");
}

}  // namespace mtd::ctl
