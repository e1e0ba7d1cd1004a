#include "config/tools.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/names.h"
#include "config/keys.h"

namespace mtd::config {
namespace {

using Json = nlohmann::ordered_json;

struct Line {
  std::string key;
  std::string value;  // JSON, or prose for a default that depends on other keys
  std::optional<std::string> origin;
};

const Origin* find_origin(const LoadResult& loaded, const std::string& key) {
  for (const Origin& origin : loaded.origins) {
    if (origin.key == key) return &origin;
  }
  return nullptr;
}

std::string place_text(const Origin& origin) {
  return escape_for_terminal(origin.file) + ":" + std::to_string(origin.line) + ":" +
         std::to_string(origin.column);
}

template <class Spec>
Line line_of(const LoadResult& loaded, const Key<Spec>& key, const std::string& prefix,
             const Spec& spec) {
  const std::string name(key.info.path);
  if (const Origin* origin = find_origin(loaded, prefix + name)) {
    return {name, origin->value, place_text(*origin)};
  }
  // A plain member tells its default itself; the resolved ones show the rule they come from.
  const bool plain = key.get != nullptr && (key.set != nullptr || key.info.path == "overlap");
  const nlohmann::json value = plain ? key.get(spec, key.info) : nlohmann::json();
  return {name, value.is_null() ? std::string(key.info.fallback) : value.dump(), std::nullopt};
}

// A number that may also be an object has one of these forms only.
template <class Spec>
bool is_moot(const std::vector<Key<Spec>>& keys, const Key<Spec>& key, const Spec& spec) {
  if (key.get == nullptr || !key.get(spec, key.info).is_null()) return false;
  return std::any_of(keys.begin(), keys.end(), [&](const Key<Spec>& other) {
    return other.info.type == Type::count &&
           (other.info.path == key.info.path ||
            key.info.path.starts_with(std::string(other.info.path) + "."));
  });
}

template <class Spec>
std::vector<Line> lines_of(const LoadResult& loaded, const std::vector<Key<Spec>>& keys,
                           const std::string& prefix, const Spec& spec) {
  std::vector<Line> lines;
  for (const auto& key : keys) {
    if (!is_moot(keys, key, spec)) lines.push_back(line_of(loaded, key, prefix, spec));
  }
  return lines;
}

std::string text_of(const std::string& prefix, const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) {
    text += escape_for_terminal(prefix + line.key + " = " + line.value) + "  # " +
            (line.origin ? *line.origin : "default") + "\n";
  }
  return text;
}

Json json_of(const std::vector<Line>& lines) {
  Json json = Json::object();
  for (const Line& line : lines) {
    Json value = Json::parse(line.value, nullptr, false);
    json[line.key] = {{"value", value.is_discarded() ? Json(line.value) : value},
                      {"origin", line.origin ? Json(*line.origin) : Json()}};
  }
  return json;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Result<std::string> show(const LoadResult& loaded, std::optional<std::string_view> pool,
                         Form form) {
  const Configuration& configuration = loaded.configuration;
  std::string text;
  Json json = Json::object();
  if (!pool) {
    const auto lines = lines_of(loaded, daemon_keys(), "", configuration.daemon);
    text = text_of("", lines);
    json["daemon"] = json_of(lines);
  }
  json["pools"] = Json::object();
  for (const PoolSpec& spec : configuration.pools) {
    if (pool && spec.name != *pool) continue;
    const std::string prefix = "pools." + spec.name + ".";
    const auto lines = lines_of(loaded, pool_keys(), prefix, spec);
    text += text_of(prefix, lines);
    json["pools"][spec.name] = json_of(lines);
  }
  if (pool && json["pools"].empty()) {
    std::vector<std::string_view> names;
    for (const PoolSpec& spec : configuration.pools)
      names.push_back(spec.name);
    const std::string_view close = closest_name(*pool, names);
    return Error{"there is no pool \"" + escape_for_terminal(pool->substr(0, 80)) + "\"" +
                 (close.empty() ? "" : ", did you mean \"" + std::string(close) + "\"?")};
  }
  return form == Form::text ? text : json.dump(2) + "\n";
}

std::string_view apply_name(Apply apply) {
  switch (apply) {
    case Apply::unchanged:
      return "unchanged";
    case Apply::hot:
      return "hot";
    case Apply::rolling:
      return "rolling";
    case Apply::restart:
      return "restart";
    case Apply::add:
      return "add";
    case Apply::remove:
      return "remove";
  }
  return "";
}

std::string describe_plan(const Plan& plan) {
  std::string text;
  for (const PoolChange& change : plan.pools) {
    if (change.apply == Apply::unchanged) continue;
    text += change.pool + ": " + std::string(apply_name(change.apply)) +
            (change.keys.empty() ? "" : ": " + joined(change.keys)) + "\n";
  }
  if (!plan.daemon_keys.empty()) text += "mtd: hot: " + joined(plan.daemon_keys) + "\n";
  if (!plan.daemon_restart_keys.empty()) {
    text += "mtd: needs a restart of mtd: " + joined(plan.daemon_restart_keys) + "\n";
  }
  return text.empty() ? "nothing changes\n" : text;
}

}  // namespace mtd::config
