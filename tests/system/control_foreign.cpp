// A Varlink client nobody here wrote (Debian's Go library) against the server: introspection,
// Status once and with several replies, typed errors, a stream of events. Ends with 77 when Go is
// missing.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include <nlohmann/json.hpp>

#include "daemon/supervisor/event_ring.h"
#include "tests/support/control_fixture.h"

using namespace mtd::test;
using namespace mtd::control;
using mtd::supervisor::EventRing;
using nlohmann::json;

namespace {

int run_client(ControlFixture& fixture, const char* script) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::execl("/bin/sh", "sh", script, fixture.path.c_str(), "3", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  // Building the client may take long; its own deadline is 30 s.
  while (::waitpid(pid, &status, WNOHANG) == 0)
    fixture.reactor.turn(10);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

int main() {
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  EventRing ring("e1");
  ControlFixture fixture({}, {}, TestReactor::Clock::real);
  ring.set_wake_all([&](std::vector<std::weak_ptr<Call>>&& calls) {
    fixture.server->wake_all(std::move(calls));
  });
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    if (call->method().name == "Events") {
      ring.serve(call);
      // They come after the client has subscribed.
      for (int i = 0; i < 3; ++i)
        ring.push("web", "web/0", json{{"event", "started"}, {"pid", i}});
      return;
    }
    const json web{{"name", "web"}, {"state", "running"}};
    if (!call->wants_more()) return call->reply({{"pools", json::array({web})}});
    auto left = std::make_shared<int>(3);
    call->stream([left, web] {
      const json reply{{"pools", json::array({web})}};
      return --*left == 0 ? Piece::last(reply) : Piece::part(reply);
    });
  };
  return run_client(fixture, MTD_SOURCE_DIR "/tests/system/varlink_go/run.sh");
}
