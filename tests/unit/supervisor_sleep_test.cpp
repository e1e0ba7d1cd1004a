// SleepLog: how old things are on a machine that sleeps.
#include <doctest/doctest.h>

#include "daemon/supervisor/sleep_log.h"

using namespace mtd;
using namespace mtd::supervisor;

namespace {

Instant at(std::int64_t seconds) {
  return Instant() + Duration::seconds(seconds);
}

}  // namespace

TEST_CASE("only sleeps after a moment make it older") {
  SleepLog log;
  log.look(at(10), Duration::seconds(500));  // slept before mtd was there
  CHECK(log.since(at(0)).is_zero());
  log.look(at(20), Duration::seconds(500));
  log.look(at(30), Duration::seconds(4100));
  log.look(at(40), Duration::seconds(4100));
  log.look(at(50), Duration::seconds(4200));
  CHECK(log.since(at(5)) == Duration::seconds(3700));
  CHECK(log.since(at(35)) == Duration::seconds(100));
  CHECK(log.since(at(51)).is_zero());
}

TEST_CASE("two clocks that are not read at the same moment are no sleep") {
  SleepLog log;
  log.look(at(1), Duration::seconds(100));
  log.look(at(2), Duration::milliseconds(100'400));
  log.look(at(3), Duration::seconds(99));
  CHECK(log.since(at(0)).is_zero());
  log.look(at(4), Duration::milliseconds(101'200));
  CHECK(log.since(at(0)) == Duration::milliseconds(1'200));
}

TEST_CASE("many sleeps are kept in a bounded list, and none is lost") {
  SleepLog log;
  log.look(at(0), Duration());
  for (std::int64_t i = 1; i <= 1000; ++i)
    log.look(at(i), Duration::seconds(10 * i));
  CHECK(log.since(at(0)) == Duration::seconds(10'000));
  CHECK(log.since(at(1000)) == Duration::seconds(10));
}
