// What people ask of a configuration: show, defaults, schema, the manual's list of keys.
#include <doctest/doctest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/size.h"
#include "config/keys.h"
#include "config/tools.h"
#include "tests/unit/config_support.h"

using mtd::config::Form;
using mtd::test::ConfigTree;
using Json = nlohmann::json;

TEST_CASE("show tells every value and where it comes from, drop-ins included") {
  const ConfigTree tree;
  tree.write(
      "pools.d/web.json",
      "{\"pools\":{\"web\":{\"command\":\"/bin/true\",\n\"workers\":2,\"stop\":{\"timeout\":5}}}}");
  tree.write("pools.d/web.json.d/x.json", "{\"pools\":{\"web\":{\"workers\":3}}}");
  const auto loaded = tree.load();
  REQUIRE(loaded.errors.empty());
  const auto text = mtd::config::show(loaded, "web", Form::text);
  REQUIRE(text.has_value());
  const std::string shown = tree.without_path(*text);
  CHECK(shown.find("pools.web.command = \"/bin/true\"  # pools.d/web.json:1:18\n") !=
        std::string::npos);
  CHECK(shown.find("pools.web.workers = 3  # pools.d/web.json.d/x.json:1:18\n") !=
        std::string::npos);
  CHECK(shown.find("pools.web.stop.timeout = 5  # pools.d/web.json:2:21\n") != std::string::npos);
  CHECK(shown.find("pools.web.stop.signal = \"TERM\"  # default\n") != std::string::npos);
  CHECK(shown.find("pools.web.crash_limit.count = 5 times workers  # default\n") !=
        std::string::npos);
  CHECK(shown.find("limits.clients") == std::string::npos);
  const auto json = Json::parse(*mtd::config::show(loaded, std::nullopt, Form::json));
  CHECK(json["daemon"]["limits.clients"]["value"] == 1024);
  CHECK(json["daemon"]["limits.clients"]["origin"].is_null());
  CHECK(json["pools"]["web"]["workers"]["value"] == 3);
  CHECK(json["pools"]["web"]["workers"]["origin"] == tree.path("pools.d/web.json.d/x.json:1:18"));
  // Of a number that may be an object one form is shown.
  const auto is_of_object = [](const auto& key) { return key.info.path.starts_with("workers."); };
  const auto& keys = mtd::config::pool_keys();
  const auto moot = static_cast<std::size_t>(std::count_if(keys.begin(), keys.end(), is_of_object));
  CHECK(moot == 4);
  CHECK(json["pools"]["web"].size() == keys.size() - moot);
  const auto none = mtd::config::show(loaded, "wep", Form::text);
  REQUIRE(!none.has_value());
  CHECK(none.error().message == "there is no pool \"wep\", did you mean \"web\"?");
}

TEST_CASE("the defaults of the table are those of the specification") {
  mtd::config::PoolSpec plain, queue;
  queue.tasks.mode = mtd::config::TaskMode::task;
  for (const auto& key : mtd::config::pool_keys()) {
    CAPTURE(key.info.path);
    const bool of_queue = key.info.path.starts_with("tasks.") && key.info.path != "tasks.mode";
    const auto& spec = of_queue ? queue : plain;
    CHECK(!key.info.doc.empty());
    CHECK(key.info.doc.ends_with("."));
    const Json fallback = Json::parse(key.info.fallback, nullptr, false);
    if (key.get == nullptr || key.info.path == "env" || key.info.path == "overlap") continue;
    const Json actual = key.get(spec, key.info);
    if (fallback.is_discarded()) {
      CHECK((actual.is_null() || key.info.path == "command" || key.info.path == "ready"));
    } else if (actual.is_number() && fallback.is_string()) {
      CHECK(actual == mtd::parse_size(fallback.get<std::string>())->bytes);
    } else {
      CHECK(actual == fallback);
    }
  }
  const mtd::config::DaemonSpec daemon;
  for (const auto& key : mtd::config::daemon_keys()) {
    CAPTURE(key.info.path);
    const Json fallback = Json::parse(key.info.fallback, nullptr, false);
    const Json actual = key.get(daemon, key.info);
    if (actual.is_number() && fallback.is_string()) {
      CHECK(actual == mtd::parse_size(fallback.get<std::string>())->bytes);
    } else {
      CHECK(actual == (fallback.is_discarded() ? Json() : fallback));
    }
  }
}

TEST_CASE("the schema has every key and nothing else") {
  const Json schema = Json::parse(mtd::config::schema());
  CHECK(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  const auto find = [](Json level, std::string_view path) {
    while (!path.empty()) {
      const std::size_t dot = std::min(path.find('.'), path.size());
      level = level["properties"][std::string(path.substr(0, dot))];
      if (dot < path.size() && level.contains("anyOf")) level = level["anyOf"].back();
      path.remove_prefix(std::min(dot + 1, path.size()));
    }
    return level;
  };
  const Json with_command =
      schema["properties"]["pools"]["patternProperties"]["^(?!x-)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"];
  for (const auto& key : mtd::config::pool_keys()) {
    CAPTURE(key.info.path);
    CHECK(find(with_command, key.info.path)["description"] == key.info.doc);
  }
  for (const auto& key : mtd::config::daemon_keys())
    CHECK(find(schema, key.info.path)["description"] == key.info.doc);
  CHECK(with_command["additionalProperties"] == false);
  CHECK(with_command["required"] == Json::array({"command"}));
}

TEST_CASE("the manual lists every key once") {
  const std::string manual = mtd::config::manual_of_keys();
  const auto count = [&](std::string_view path) {
    const std::string item = ".It Cm " + std::string(path) + "\n";
    std::size_t found = 0;
    for (std::size_t at = manual.find(item); at != std::string::npos;
         at = manual.find(item, at + 1))
      ++found;
    return found;
  };
  for (const auto& key : mtd::config::pool_keys())
    CHECK(count(key.info.path) == 1);
  for (const auto& key : mtd::config::daemon_keys())
    CHECK(count(key.info.path) == 1);
}
