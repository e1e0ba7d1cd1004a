// Commands beside the workers: stop.command and hooks.
#include <doctest/doctest.h>

#include "config/expand.h"
#include "config/loader.h"
#include "tests/unit/config_support.h"

using namespace mtd::config;
using mtd::Duration;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string refusal(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE_MESSAGE(loaded.errors.size() == 1, members);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web."));
}

}  // namespace

TEST_CASE("values, and their defaults") {
  const PoolSpec spec =
      pool_of(load_pool("\"command\":\"/bin/true\",\"workers\":3,\"stop\":{\"command\":[\"/bin/"
                        "kill\",\"${MTD_WORKER_ID}\"]},"
                        "\"hooks\":{\"on_start\":\"/bin/echo 'a b'\",\"timeout\":\"5s\"}"));
  CHECK(spec.stop.command.executable == "/bin/kill");
  CHECK(for_worker(spec.stop.command.command.at(1), 2, 1) == "2");
  CHECK(spec.hooks.on_start.command == std::vector<std::string>{"/bin/echo", "a b"});
  CHECK(spec.hooks.on_exit.command.empty());
  CHECK(spec.hooks.timeout == Duration::seconds(5));
  CHECK(spec.overlap);  // what the command differs in says nothing about the worker

  const PoolSpec plain = pool_of(load_pool(""));
  CHECK(plain.stop.command.command.empty());
  CHECK(plain.hooks.on_failed.command.empty());
  CHECK(plain.hooks.timeout == Duration::seconds(30));
}

TEST_CASE("what is wrong is said") {
  CHECK(refusal("\"hooks\":{\"on_exit\":\"/no/such/program\"}")
            .starts_with("pools.web.hooks.on_exit: "));
  CHECK(refusal("\"command\":\"/bin/true\",\"stop\":{\"command\":[\"/no/such/program\"]}")
            .starts_with("pools.web.stop.command: "));
  CHECK(refusal("\"hooks\":{\"on_failed\":\"/bin/echo ${NO_SUCH}\"}")
            .starts_with("pools.web.hooks.on_failed: "));
  CHECK(refusal("\"hooks\":{\"on_exit\":\"\"}").starts_with("pools.web.hooks.on_exit"));
  CHECK(refusal("\"hooks\":{\"timeout\":\"1ms\"}").starts_with("pools.web.hooks.timeout"));
  const auto unknown = load_pool("\"hooks\":{\"on_stop\":\"/bin/true\"}");
  REQUIRE(unknown.errors.size() == 1);
  CHECK(unknown.errors.front().text().find("unknown key \"on_stop\"") != std::string::npos);
}
