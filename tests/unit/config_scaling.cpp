// "workers" as an object: a pool whose number of workers follows their work.
#include <doctest/doctest.h>

#include "config/keys.h"
#include "config/tools.h"
#include "tests/unit/config_support.h"

using mtd::Duration;
using mtd::config::PoolSpec;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string error_of(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE(loaded.errors.size() == 1);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web"));
}

}  // namespace

TEST_CASE("the bounds of a dynamic pool, and their defaults") {
  const PoolSpec plain = pool_of(load_pool("\"workers\": 3"));
  CHECK(plain.scaling.max == 0);
  const PoolSpec few = pool_of(load_pool("\"workers\": {\"max\": 8}"));
  CHECK(few.scaling == mtd::config::ScalingSpec{1, 8, 1, Duration::seconds(30)});
  CHECK(few.workers == 1);
  CHECK(few.overlap);  // not a single one
  const PoolSpec all = pool_of(load_pool(
      "\"listen\": \"tcp:127.0.0.1:80\", "
      "\"workers\": {\"min\": 0, \"max\": 4, \"spare\": 2, \"quiet\": \"90s\", \"x-note\": 1}"));
  CHECK(all.scaling == mtd::config::ScalingSpec{0, 4, 2, Duration::seconds(90)});
  CHECK(all.workers == 0);
  CHECK(all.spawn_fingerprint ==
        pool_of(load_pool("\"listen\": \"tcp:127.0.0.1:80\", \"overlap\": true, \"workers\": 9"))
            .spawn_fingerprint);  // hot, all of it
  CHECK(pool_of(load_pool("\"workers\": {\"max\": \"auto\"}")).scaling.max > 0);
}

TEST_CASE("bounds that cannot be") {
  CHECK(error_of("\"workers\": {}") ==
        "pools.web.workers: as an object it needs \"max\", the most workers, like {\"min\": 1, "
        "\"max\": 8}");
  CHECK(error_of("\"workers\": {\"min\": 9, \"max\": 8}") ==
        "pools.web.workers.min: is 9, more than workers.max (8)");
  CHECK(error_of("\"workers\": {\"max\": 2, \"spare\": 3}") ==
        "pools.web.workers.spare: is 3, more than workers.max (2)");
  CHECK(error_of("\"workers\": {\"min\": 0, \"max\": 2}") ==
        "pools.web.workers.min: is 0, but the pool neither listens nor has a queue of tasks: "
        "nothing would ever start a "
        "worker");
  CHECK(error_of("\"listen\": \"tcp:*:80?reuse_port=yes\", \"workers\": {\"max\": 2}")
            .starts_with("pools.web.listen: reuse_port is for a fixed number of workers"));
  CHECK(error_of("\"workers\": \"many\"") ==
        "pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or an object, like "
        "{\"min\": 1, \"max\": 8}, not \"many\"");
  CHECK(error_of("\"workers\": {\"maximum\": 2, \"max\": 2}") ==
        "pools.web.workers: unknown key \"maximum\"; there are \"min\", \"max\", \"spare\", "
        "\"quiet\"");
  CHECK(error_of("\"workers\": {\"max\": 2, \"quiet\": \"0s\"}")
            .starts_with("pools.web.workers.quiet: must be a duration"));
}

TEST_CASE("a dynamic pool comes back from its flat form, and is shown by its own keys only") {
  const auto loaded = load_pool("\"workers\": {\"min\": 2, \"max\": 5}");
  const auto again = mtd::config::decode(mtd::config::encode(loaded.configuration));
  REQUIRE(again.has_value());
  CHECK(again->pools.front().scaling == loaded.configuration.pools.front().scaling);
  CHECK(again->pools.front().workers == 2);
  const auto shown = mtd::config::show(loaded, "web", mtd::config::Form::text);
  REQUIRE(shown.has_value());
  CHECK(shown->find("pools.web.workers.max = 5  # ") != std::string::npos);
  CHECK(shown->find("pools.web.workers.spare = 1  # default") != std::string::npos);
  CHECK(shown->find("pools.web.workers = ") == std::string::npos);
  const auto fixed = mtd::config::show(load_pool(""), "web", mtd::config::Form::text);
  CHECK(fixed->find("pools.web.workers = 1  # default") != std::string::npos);
  CHECK(fixed->find("workers.max") == std::string::npos);
}
