#include <nlohmann/json.hpp>

#include "config/keys.h"
#include "config/keys_order.h"
#include "config/tools.h"

namespace mtd::config {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDurationPattern =
    "^(infinity|[0-9]+(\\.[0-9]{1,9})?|([0-9]+(\\.[0-9]{1,9})?(d|h|m|s|ms|us|ns))+)$";

Json words_schema(const KeyInfo& key) {
  Json words = Json::array();
  for (const std::string_view word : key.words) {
    if (!word.empty()) words.push_back(word);
  }
  return {{"enum", words}};
}

Json any_of(Json a, Json b) {
  Json list = Json::array();
  list.push_back(std::move(a));
  list.push_back(std::move(b));
  return {{"anyOf", list}};
}

Json text_schema() {
  return {{"type", "string"}, {"minLength", 1}};
}
Json list_of(Json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}
Json whole(double min, double max) {
  return {{"type", "integer"},
          {"minimum", static_cast<std::int64_t>(min)},
          {"maximum", static_cast<std::int64_t>(max)}};
}

Json ignored_keys() {
  return {{"^(\\$|x-)", true}};
}

Json environment_schema() {
  return {{"type", "object"},
          {"patternProperties",
           {{"^[A-Za-z_][A-Za-z0-9_]*$", {{"type", {"string", "integer"}}}}, {"^(\\$|x-)", true}}},
          {"additionalProperties", false}};
}

Json limits_schema() {
  const Json value = {{"type", {"string", "integer"}}, {"minimum", 0}};
  const Json pair = {{"type", "object"},
                     {"properties", {{"soft", value}, {"hard", value}}},
                     {"required", {"soft", "hard"}},
                     {"additionalProperties", false}};
  return {{"type", "object"},
          {"patternProperties", ignored_keys()},
          {"additionalProperties", any_of(value, pair)}};
}

Json steps_schema() {
  return {{"type", "array"},
          {"items", {{"type", "array"}, {"minItems", 1}, {"maxItems", 2}}},
          {"minItems", 1},
          {"maxItems", kMaxStopSteps}};
}

Json dependencies_schema() {
  const Json until = {{"enum", {"started", "ready", "completed"}}};
  const Json full = {{"type", "object"},
                     {"properties", {{"until", until}, {"if_lost", {{"enum", {"keep", "stop"}}}}}},
                     {"required", Json::array({"until"})},
                     {"additionalProperties", false}};
  return {{"type", "object"},
          {"patternProperties", ignored_keys()},
          {"additionalProperties", any_of(until, full)}};
}

Json object_schema() {
  return {{"type", "object"},
          {"properties", Json::object()},
          {"patternProperties", ignored_keys()},
          {"additionalProperties", false}};
}

Json type_schema(const KeyInfo& key) {
  switch (key.type) {
    case Type::boolean:
      return {{"type", "boolean"}};
    case Type::integer:
      return key.words.empty() ? whole(key.min, key.max)
                               : any_of(whole(key.min, key.max), words_schema(key));
    case Type::count: {
      Json forms = any_of(whole(key.min, key.max), words_schema(key));
      forms["anyOf"].push_back(object_schema());
      return forms;
    }
    case Type::number:
      return {{"type", "number"}, {"minimum", key.min}, {"maximum", key.max}};
    case Type::duration:
      return any_of({{"type", "string"}, {"pattern", kDurationPattern}},
                    {{"type", "number"}, {"minimum", 0}});
    case Type::word:
      return words_schema(key);
    case Type::signal:
      return any_of(text_schema(), whole(1, 64));
    case Type::text:
    case Type::path:
      return text_schema();
    case Type::mode:
      return {{"type", "string"}, {"pattern", "^[0-7]{1,5}$"}};
    case Type::codes:
      return {{"type", "array"}, {"items", whole(key.min, key.max)}, {"uniqueItems", true}};
    case Type::names:
      return list_of(text_schema());
    case Type::command:
      return any_of(text_schema(),
                    {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}});
    case Type::paths:
    case Type::sockets:
      return any_of(text_schema(), list_of(text_schema()));
    case Type::environment:
      return environment_schema();
    case Type::limits:
      return limits_schema();
    case Type::size:
      return any_of(text_schema(), whole(key.min, key.max));
    case Type::percentage:
      return key.words.empty()
                 ? Json{{"type", "string"}, {"pattern", "^[1-9][0-9]*%$"}}
                 : any_of({{"type", "string"}, {"pattern", "^[1-9][0-9]*%$"}}, words_schema(key));
    case Type::cpus:
      return any_of(text_schema(), list_of(whole(0, key.max)));
    case Type::io_priority:
      return {{"type", "string"}, {"pattern", "^(idle|(best-effort|realtime)(:[0-7])?)$"}};
    case Type::stop_steps:
      return steps_schema();
    case Type::dependencies:
      return dependencies_schema();
    case Type::capabilities:
    case Type::system_calls:
      return list_of(text_schema());
  }
  return true;
}

void add_key(Json& object, const KeyInfo& key) {
  Json* level = &object;
  std::string_view path = key.path;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    Json& inner = (*level)["properties"][std::string(path.substr(0, dot))];
    if (inner.is_null()) inner = object_schema();
    level = inner.contains("anyOf") ? &inner["anyOf"].back() : &inner;
    path.remove_prefix(dot + 1);
  }
  Json property = {{"description", key.doc}};
  property.update(type_schema(key));
  if (Json fallback = Json::parse(key.fallback, nullptr, false); !fallback.is_discarded())
    property["default"] = fallback;
  (*level)["properties"][std::string(path)] = std::move(property);
}

}  // namespace

std::string schema() {
  Json pool = object_schema();
  for (const PoolKey& key : pool_keys())
    add_key(pool, key.info);
  pool["required"] = {"command"};
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "Configuration of mtd: mtd.json and pools.d/*.json"}};
  root.update(object_schema());
  for (const DaemonKey& key : daemon_keys())
    add_key(root, key.info);
  root["properties"]["pools"] = {
      {"type", "object"},
      {"description", "The pools by name."},
      {"patternProperties",
       {{"^(?!x-)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", pool}, {"^(\\$|x-)", true}}},
      {"additionalProperties", false}};
  return root.dump(2) + "\n";
}

}  // namespace mtd::config
