#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/render_status.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

constexpr std::size_t kHeadWidth = 101;  // of the first line, where the terminal is wide enough

std::string config_phrase(const Json& daemon) {
  std::string result = "config rev " + number_phrase(integer(daemon, "config_rev"));
  if (!text(daemon, "config_error").empty()) return result + " (files invalid)";
  const Json& in_sync = member(daemon, "config_in_sync");
  if (in_sync.is_boolean()) result += in_sync.get<bool>() ? " (in sync)" : " (files differ)";
  return result;
}

std::string head(const Json& daemon, const Screen& screen) {
  const std::string keeper = safe_text(daemon, "keeper_version");
  const std::string name =
      "mtd " + safe_text(daemon, "version") + (keeper.empty() ? "" : " (keeper " + keeper + ")");
  const std::string rest = "  pid " + number_phrase(integer(daemon, "pid")) + "  up " +
                           duration_phrase(integer(daemon, "uptime_ms")) + "  " +
                           config_phrase(daemon);
  const std::string right = number_phrase(integer(daemon, "workers_ready")) + "/" +
                            number_phrase(integer(daemon, "workers_want")) + " workers ready";
  const std::size_t used = display_width(name) + display_width(rest);
  const std::size_t line = screen.width == 0 ? kHeadWidth : std::min(screen.width, kHeadWidth);
  const std::string left = screen.paint(name, Colour::bold) + rest;
  if (used + 2 + right.size() > line) {
    if (screen.width == 0) return left + "  " + right + "\n";
    return screen.paint(cut_to_width(name + rest, screen.width, screen.ellipsis()), Colour::bold) +
           "\n" + right + "\n";
  }
  return left + pad(right, line - used, Align::right) + "\n";
}

std::string want_phrase(const Json& pool) {
  const auto want = integer(pool, "want");
  const auto file = integer(pool, "want_file");
  std::string result = number_phrase(want);
  if (const Json& scaling = member(pool, "scaling"); scaling.is_object()) {
    return result + (is_true(scaling, "by_hand") ? "(" : "[") +
           number_phrase(integer(scaling, "min")) + "-" + number_phrase(integer(scaling, "max")) +
           (is_true(scaling, "by_hand") ? ")" : "]");
  }
  if (want && file && *want != *file) result += "(" + std::to_string(*file) + ")";
  return result;
}

// What a pool's workers use together; nothing when nothing is known of any of them.
struct Use {
  std::optional<std::int64_t> rss_bytes;
  Json cpu_pct;
};

Use use_of(const Json& pool) {
  Use use;
  for (const Json& worker : array(pool, "workers")) {
    if (const auto rss = integer(worker, "rss_bytes"))
      use.rss_bytes = use.rss_bytes.value_or(0) + *rss;
    if (const Json& cpu = member(worker, "cpu_pct"); cpu.is_number()) {
      use.cpu_pct = (use.cpu_pct.is_number() ? use.cpu_pct.get<double>() : 0) + cpu.get<double>();
    }
  }
  return use;
}

std::string queue_phrase(const Json& pool) {
  return number_phrase(integer(member(pool, "queue"), "waiting"));
}

std::vector<Column> overview_columns(bool wide) {
  std::vector<Column> columns{{"POOL", Align::left, 7},         {"STATE", Align::left, 9},
                              {"READY", Align::right},          {"WANT", Align::right, 0, 6},
                              {"BUSY", Align::right, 0, 2},     {"QUEUE", Align::right, 0, 1},
                              {"RESTARTS", Align::right, 0, 5}, {"RECYCLED", Align::right, 0, 3},
                              {"SINCE", Align::right, 5, 4}};
  if (wide) {
    columns.push_back({"CPU", Align::right, 0, 8});
    columns.push_back({"RSS", Align::right, 0, 9});
    columns.push_back({"REV", Align::right, 0, 7});
  }
  columns.push_back({"NOTE", Align::left, 0, 0, true});
  return columns;
}

std::vector<Cell> overview_row(const Json& pool, bool wide) {
  const std::string state = safe_text(pool, "state");
  std::vector<Cell> row{
      {safe_text(pool, "name")},
      {state, colour_of_state(state)},
      {number_phrase(integer(pool, "ready")) + "/" + number_phrase(integer(pool, "want"))},
      {want_phrase(pool)},
      {number_phrase(integer(pool, "busy"))},
      {queue_phrase(pool)},
      {number_phrase(integer(pool, "restarts"))},
      {number_phrase(integer(pool, "recycled"))},
      {duration_phrase(integer(pool, "since_ms"))}};
  if (wide) {
    const Use use = use_of(pool);
    row.push_back({percent_phrase(use.cpu_pct)});
    row.push_back({size_phrase(use.rss_bytes)});
    row.push_back({number_phrase(integer(pool, "revision"))});
  }
  row.push_back({safe_text(pool, "note")});
  return row;
}

bool needs_attention(const Json& pool) {
  const std::string state = text(pool, "state");
  return state == "degraded" || state == "backoff" || state == "failed" ||
         is_true(member(pool, "breaker"), "open") ||
         member(member(pool, "rollout"), "failed_revision").is_number();
}

std::string attention(const Json& pools, const Screen& screen) {
  std::vector<std::string> names;
  for (const Json& pool : pools) {
    if (needs_attention(pool)) names.push_back(safe_text(pool, "name"));
  }
  if (names.empty()) return {};
  std::string line = counted(static_cast<std::int64_t>(names.size()), "pool") +
                     (names.size() == 1 ? " needs" : " need") + " attention: ";
  for (std::size_t i = 0; i < names.size(); ++i)
    line += (i == 0 ? "" : ", ") + names[i];
  const std::string hint = "(mtctl why " + names.front() + ")";
  const std::size_t gap = std::max<std::size_t>(2, 40 - std::min<std::size_t>(40, line.size()));
  if (screen.width != 0 && line.size() + gap + hint.size() > screen.width) {
    line = cut_to_width(line, screen.width, screen.ellipsis()) + "\n" +
           cut_to_width(hint, screen.width, screen.ellipsis());
    return screen.paint(line, Colour::yellow) + "\n";
  }
  return screen.paint(line, Colour::yellow) + std::string(gap, ' ') + hint + "\n";
}

std::string warnings(const Json& daemon, const Screen& screen) {
  std::string result;
  if (const std::string error = safe_text(daemon, "config_error"); !error.empty()) {
    result += screen.paint("the configuration files are invalid: ", Colour::yellow) + error + "\n";
  }
  for (const std::string& warning : strings(daemon, "warnings")) {
    result += screen.paint("warning: ", Colour::yellow) + escape_for_terminal(warning) + "\n";
  }
  return result;
}

}  // namespace

std::string render_overview(const Json& report, bool wide, const Screen& screen) {
  const Json& daemon = member(report, "daemon");
  const Json& pools = array(report, "pools");
  Table table(overview_columns(wide));
  for (const Json& pool : pools)
    table.add_row(overview_row(pool, wide));
  const std::string body = table.empty() ? "no pools are configured\n" : table.render(screen);
  return head(daemon, screen) + body + attention(pools, screen) + warnings(daemon, screen);
}

}  // namespace mtd::ctl
