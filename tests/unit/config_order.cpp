// Steps of a stop, order between pools, and how a change is rolled out: values and every error
// text.
#include <doctest/doctest.h>

#include "config/order.h"
#include "tests/unit/config_support.h"

using mtd::Duration;
using mtd::config::check_order;
using mtd::config::Dependency;
using mtd::config::DependencyState;
using mtd::config::LossPolicy;
using mtd::config::PoolSpec;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string refusal(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE_MESSAGE(loaded.errors.size() == 1, members);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web."));
}

bool refuses(const std::string& members, const std::string& what) {
  const std::string text = refusal(members);
  CAPTURE(text);
  return text.find(what) != std::string::npos;
}

PoolSpec named(std::string name, std::vector<std::string> needs) {
  PoolSpec spec;
  spec.name = std::move(name);
  for (auto& other : needs)
    spec.depends_on.push_back({std::move(other), DependencyState::ready});
  return spec;
}

}  // namespace

TEST_CASE("steps of a stop") {
  const auto steps = [](const std::string& list) {
    return pool_of(load_pool("\"stop\":{\"steps\":" + list + "}")).stop.steps;
  };
  const auto three = steps("[[\"TERM\",\"10s\"],[\"SIGQUIT\",5],[\"KILL\"]]");
  REQUIRE(three.size() == 2);
  CHECK(three[0].signal.value == 15);
  CHECK(three[0].timeout == Duration::seconds(10));
  CHECK(three[1].signal.value == 3);
  CHECK(three[1].timeout == Duration::seconds(5));
  const auto forever = steps("[[\"INT\",\"infinity\"]]");
  REQUIRE(forever.size() == 1);
  CHECK(forever[0].timeout.is_infinite());
  CHECK(pool_of(load_pool("")).stop.steps.empty());
}

TEST_CASE("steps that make no sense") {
  const auto wrong = [](const std::string& list, const std::string& what) {
    return refuses("\"stop\":{\"steps\":" + list + "}", what);
  };
  CHECK(wrong("[]", "a list of signals with times"));
  CHECK(wrong("\"TERM\"", "a list of signals with times"));
  CHECK(wrong("[\"TERM\"]", "each step is a signal and a time"));
  CHECK(wrong("[[\"TERM\"]]", "SIGTERM needs a time"));
  CHECK(wrong("[[\"TERM\",0]]", "must be a duration"));
  CHECK(wrong("[[\"TERM\",\"0s\"]]", "is zero"));
  CHECK(wrong("[[\"TERM\",\"10\"],[\"TERMM\",\"1s\"]]", "TERMM"));
  CHECK(wrong("[[\"KILL\"],[\"TERM\",\"1s\"]]", "is the last step"));
  CHECK(wrong("[[\"TERM\",\"1s\"],[\"KILL\",\"1s\"]]", "has no time"));
  CHECK(wrong("[[\"KILL\"]]", "alone"));
  CHECK(wrong("[[\"TERM\",\"infinity\"],[\"INT\",\"1s\"]]", "waits for ever"));
  CHECK(refuses("\"stop\":{\"signal\":\"INT\",\"steps\":[[\"TERM\",\"1s\"]]}",
                "is part of \"steps\" already"));
}

TEST_CASE("order: values") {
  const auto loaded = mtd::test::load_pool("\"depends_on\":{}");
  CHECK(pool_of(loaded).depends_on.empty());
  CHECK_FALSE(pool_of(loaded).essential);
}

TEST_CASE("order: what makes no sense") {
  CHECK(refuses("\"depends_on\":{\"db\":\"up\"}", "\"started\", \"ready\" or \"completed\""));
  CHECK(refuses("\"depends_on\":\"db\"", "an object of pools"));
  CHECK(refuses("\"depends_on\":{\"d b\":\"ready\"}", "is no name of a pool"));
  CHECK(
      refuses("\"depends_on\":{\"db\":{\"until\":\"ready\",\"if_los\":\"stop\"}}", "\"if_lost\""));
  CHECK(refuses("\"depends_on\":{\"db\":{\"until\":\"completed\",\"if_lost\":\"stop\"}}",
                "cannot be lost"));
  CHECK(refuses("\"depends_on\":{\"web\":\"ready\"}", "web → web"));
  CHECK(refuses("\"depends_on\":{\"wob\":\"ready\"}", "did you mean \"web\"?"));
}

TEST_CASE("each cycle is named once, from its first pool on") {
  CHECK(check_order({named("a", {}), named("b", {"a"}), named("c", {"a", "b"})}).empty());
  const auto problems = check_order({named("a", {"b"}), named("b", {"c"}), named("c", {"a"}),
                                     named("d", {"c"}), named("e", {"e"})});
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].pool == "a");
  CHECK(problems[0].message.find("a → b → c → a") != std::string::npos);
  CHECK(problems[1].pool == "e");
}

TEST_CASE("how a change is rolled out") {
  const PoolSpec spec = pool_of(
      load_pool("\"workers\":4,\"reload\":{\"mode\":\"signal\",\"signal\":\"USR1\",\"max_surge\":3,"
                "\"max_unavailable\":2}"));
  CHECK(spec.reload.mode == mtd::config::ReloadMode::signal);
  CHECK(spec.reload.signal.value == 10);
  CHECK(spec.reload.max_surge == 3);
  CHECK(spec.reload.max_unavailable == 2);
  CHECK(refuses("\"workers\":2,\"reload\":{\"max_surge\":0}", "no worker could be replaced"));
  CHECK(refuses("\"reload\":{\"signal\":\"HUP\"}", "is only for"));
}
