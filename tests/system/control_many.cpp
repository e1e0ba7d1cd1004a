// Ten thousand clients that follow events: what they cost, and that every one gets every event in
// turns that stay short. Skipped where so many descriptors are not to be had.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <string>

#include "daemon/supervisor/event_ring.h"
#include "tests/support/control_fixture.h"

using namespace mtd::test;
using namespace mtd::control;
using mtd::Duration;
using mtd::Instant;
using mtd::supervisor::EventRing;
using nlohmann::json;

namespace {

constexpr std::size_t kWanted = 10'000;

// How many clients the descriptors of this process allow: both ends are here.
std::size_t possible_clients() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_max = std::max<rlim_t>(limit.rlim_max, 2 * kWanted + 100);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  return std::min<std::size_t>(kWanted, (limit.rlim_cur - 100) / 2);
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("10 000 followers") {
  const std::size_t count = possible_clients();
  if (count < 1'000) {
    MESSAGE("skipped: RLIMIT_NOFILE allows ", count, " clients only");
    return;
  }
  EventRing ring("e1");
  ControlLimits limits;
  limits.clients = count + 10;
  ControlFixture fixture(limits, {}, TestReactor::Clock::real);
  ring.set_wake_all([&](std::vector<std::weak_ptr<Call>>&& calls) {
    fixture.server->wake_all(std::move(calls));
  });
  fixture.handler = [&](const std::shared_ptr<Call>& call) { ring.serve(call); };
  const std::size_t before = resident_bytes();
  std::vector<RawClient> clients;
  clients.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(fixture.connect());
    clients.back().write(request("Events", R"({"follow":true})", ",\"more\":true"));
    if (i % 100 == 99) fixture.reactor.settle();
  }
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == count);
  const std::size_t each = (resident_bytes() - before) / count;
  std::printf("%zu clients, %zu bytes resident each\n", count, each);
#ifndef __SANITIZE_ADDRESS__
  CHECK(each < 300u * 1024 * 1024 / kWanted);
#endif

  Instant start = fixture.reactor.now();
  ring.push("web", "web/0", json{{"event", "started"}, {"pid", 1}});
  std::printf("push: %lld ns\n",
              static_cast<long long>(fixture.reactor.now().since(start).count_ns()));
  Duration longest;
  std::size_t turns = 0;
  for (bool ran = true; ran; ++turns) {
    start = fixture.reactor.now();
    ran = fixture.reactor.turn();
    longest = std::max(longest, fixture.reactor.now().since(start));
  }
  std::printf("delivered in %zu turns, the longest %lld us\n", turns,
              static_cast<long long>(longest.count_ns() / 1'000));
  std::size_t complete = 0;
  for (RawClient& client : clients) {
    client.read();
    const auto messages = client.take();
    if (messages.size() == 2 && messages[1]["parameters"]["events"].size() == 1) ++complete;
  }
  CHECK(complete == count);
  clients.clear();
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 0);
}
