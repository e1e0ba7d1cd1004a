// A pool's tasks object: defaults, what follows from it, every error text, the way to the
// supervisor and back.
#include <doctest/doctest.h>

#include "config/keys.h"
#include "config/loader.h"
#include "tests/unit/config_support.h"

using mtd::Duration;
using namespace mtd::config;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string refusal(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE_MESSAGE(loaded.errors.size() == 1, members);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web"));
}

}  // namespace

TEST_CASE("an empty tasks object is a queue") {
  const PoolSpec spec = pool_of(load_pool("\"tasks\":{}"));
  CHECK(spec.tasks.mode == TaskMode::task);
  CHECK(spec.tasks.has_queue());
  CHECK(spec.ready == ReadyMode::notify);
  CHECK(spec.overlap);  // the queue gives no task twice, whoever asks
  CHECK(spec.tasks.timeout.is_infinite());
  CHECK(spec.tasks.max_attempts == 3);
  CHECK(spec.tasks.durability == TaskDurability::fsync);
  CHECK_FALSE(pool_of(load_pool("\"nice\":1")).tasks.has_queue());
}

TEST_CASE("notify has no queue") {
  const PoolSpec spec = pool_of(load_pool("\"tasks\":{\"mode\":\"notify\"}"));
  CHECK(spec.tasks.mode == TaskMode::notify);
  CHECK_FALSE(spec.tasks.has_queue());
  CHECK(spec.ready == ReadyMode::exec);
}

TEST_CASE("every key of tasks goes through the encoded form") {
  const auto loaded = load_pool(
      "\"tasks\":{\"mode\":\"exec\",\"timeout\":\"1m\",\"grace\":\"1s\",\"max_attempts\":5,"
      "\"retry_delay\":\"2s\",\"retry_max\":\"3s\",\"max_crashes\":7,\"max_queue\":9,"
      "\"max_queue_bytes\":\"2M\",\"on_full\":\"block\",\"queue_timeout\":\"4s\","
      "\"max_body\":\"1M\",\"credit\":2,\"durability\":\"memory\",\"max_result\":\"2K\","
      "\"result_ttl\":\"5s\",\"dead_ttl\":\"6s\",\"on_lost\":\"dead\"}");
  REQUIRE(loaded.errors.empty());
  const auto again = decode(encode(loaded.configuration));
  REQUIRE(again);
  for (const PoolSpec* spec : {&loaded.configuration.pools[0], &again->pools[0]}) {
    const TasksSpec& tasks = spec->tasks;
    CHECK(tasks.mode == TaskMode::exec);
    CHECK(tasks.timeout == Duration::seconds(60));
    CHECK(tasks.grace == Duration::seconds(1));
    CHECK(tasks.max_attempts == 5);
    CHECK(tasks.retry_delay == Duration::seconds(2));
    CHECK(tasks.retry_max == Duration::seconds(3));
    CHECK(tasks.max_crashes == 7);
    CHECK(tasks.max_queue == 9);
    CHECK(tasks.max_queue_bytes == 2U << 20);
    CHECK(tasks.on_full == OnFullQueue::block);
    CHECK(tasks.queue_timeout == Duration::seconds(4));
    CHECK(tasks.max_body == 1U << 20);
    CHECK(tasks.credit == 2);
    CHECK(tasks.durability == TaskDurability::memory);
    CHECK(tasks.max_result == 2048);
    CHECK(tasks.result_ttl == Duration::seconds(5));
    CHECK(tasks.dead_ttl == Duration::seconds(6));
    CHECK(tasks.on_lost == OnLostTask::dead);
  }
  CHECK(loaded.configuration.pools[0].spawn_fingerprint == again->pools[0].spawn_fingerprint);
}

TEST_CASE("errors of tasks") {
  CHECK(refusal("\"tasks\":{\"mode\":\"pool\"}").find("\"task\", \"exec\", \"filter\"") !=
        std::string::npos);
  CHECK(refusal("\"tasks\":{\"max_atempts\":1}").find("did you mean \"max_attempts\"") !=
        std::string::npos);
  CHECK(refusal("\"tasks\":{\"credit\":0}").find("from 1 to 1024") != std::string::npos);
  const std::string many =
      "\"command\":[\"/bin/true\"],\"workers\":10000,\"tasks\":{}},"
      "\"xother\":{\"command\":[\"/bin/true\"],\"tasks\":{},\"workers\":";
  CHECK(refusal(many + "6001").find("may have 16001 workers together; at most 16000") !=
        std::string::npos);
  CHECK(refusal(many + "{\"min\":0,\"max\":6001}").find("may have 16001 workers together") !=
        std::string::npos);
  CHECK(refusal("\"tasks\":{\"timeout\":0}").find("tasks.timeout") != std::string::npos);
  CHECK(refusal("\"ready\":\"exec\",\"tasks\":{}").find("must be \"notify\"") != std::string::npos);
  CHECK(refusal("\"tasks\":{\"retry_delay\":\"1h\"}").find("less than tasks.retry_delay") !=
        std::string::npos);
}
