#include "ctl/render_plan.h"

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/json_access.h"
#include "ctl/table.h"

namespace mtd::ctl {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words) {
    result += (result.empty() ? "" : ", ") + escape_for_terminal(word);
  }
  return result;
}

Colour colour_of(const std::string& apply) {
  if (apply == "remove" || apply == "restart") return Colour::yellow;
  return apply == "add" ? Colour::green : Colour::cyan;
}

}  // namespace

std::string render_plan(const Json& plan, const Screen& screen) {
  Table table(
      {{"POOL", Align::left, 7}, {"CHANGE", Align::left, 7}, {"KEYS", Align::left, 0, 0, true}});
  for (const Json& pool : array(plan, "pools")) {
    const std::string apply = safe_text(pool, "apply");
    if (apply == "unchanged") continue;
    table.add_row(
        {{safe_text(pool, "pool")}, {apply, colour_of(apply)}, {joined(strings(pool, "keys"))}});
  }
  std::string result = table.empty() ? std::string() : table.render(screen);
  if (const std::string keys = joined(strings(plan, "daemon_keys")); !keys.empty()) {
    result += "daemon, in place: " + keys + "\n";
  }
  if (const std::string keys = joined(strings(plan, "daemon_restart_keys")); !keys.empty()) {
    result += "daemon, after a restart of mtd: " + keys + "\n";
  }
  return result;
}

}  // namespace mtd::ctl
