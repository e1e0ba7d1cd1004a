// Who is let in, who has to go: limits of clients, descriptors, deadlines, access.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "tests/support/control_fixture.h"

using namespace mtd::test;
using namespace mtd::control;
using mtd::Duration;
using nlohmann::json;

namespace {

constexpr uid_t kNobody = 65534;
constexpr gid_t kOperators = 60001;
constexpr gid_t kReaders = 60002;

bool is_root() {
  if (::geteuid() == 0) return true;
  MESSAGE("skipped: needs root to connect as other users");
  return false;
}

// Lowers RLIMIT_NOFILE to what is open now plus `spare`, and puts it back.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t spare) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    ::close(next);
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(next) + spare;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("tiers decide, refusals and changes are told") {
  if (!is_root()) return;
  ControlFixture fixture({}, {12345, kOperators, kReaders});
  std::vector<std::string> log;
  fixture.server->on_audit([&](const AuditRecord& record) {
    log.push_back((record.refused ? "refused " : "change ") +
                  std::to_string(record.peer.credentials.uid) + " " + std::string(record.method) +
                  " " + record.parameters);
  });
  const auto outcome = [&](RawClient client, const char* method, const char* parameters) {
    const json reply = fixture.call(client, request(method, parameters));
    return reply.value("error", "ok");
  };
  const std::string denied = "io.mtd.Manager.PermissionDenied";
  const char* web = R"({"select":["web"]})";
  CHECK(outcome(fixture.connect(), "Shutdown", "{}") == "ok");
  CHECK(outcome(fixture.connect_as(12345, 1), "Shutdown", "{}") == "ok");
  CHECK(outcome(fixture.connect_as(kNobody, kOperators), "Stop", web) == "ok");
  CHECK(outcome(fixture.connect_as(kNobody, 1, {kOperators}), "Stop", web) == "ok");
  CHECK(outcome(fixture.connect_as(kNobody, 1, {kOperators}), "Shutdown", "{}") == denied);
  CHECK(outcome(fixture.connect_as(kNobody, 1, {kReaders}), "Status", "{}") == "ok");
  CHECK(outcome(fixture.connect_as(kNobody, 1, {kReaders}), "Stop", web) == denied);
  CHECK(log == std::vector<std::string>{
                   "change 0 io.mtd.Manager.Shutdown {}",
                   "change 12345 io.mtd.Manager.Shutdown {}",
                   "change 65534 io.mtd.Manager.Stop {\"select\":[\"web\"]}",
                   "change 65534 io.mtd.Manager.Stop {\"select\":[\"web\"]}",
                   "refused 65534 io.mtd.Manager.Shutdown {}",
                   "refused 65534 io.mtd.Manager.Stop {\"select\":[\"web\"]}",
               });
}

TEST_CASE("who may call nothing is told so, logged, and closed") {
  if (!is_root()) return;
  ControlFixture fixture({}, {0, kOperators, kReaders});
  std::vector<std::string> log;
  fixture.server->on_audit([&](const AuditRecord& record) { log.push_back(record.parameters); });
  RawClient client = fixture.connect_as(kNobody, kNobody);
  client.write(request("Start", "{\"select\":[\"\xe2\x80\xae" + std::string(1'000, 'x') + "\"]}"));
  const auto all = fixture.until_closed(client);
  REQUIRE(all.size() == 1);
  CHECK(all[0]["error"] == "io.mtd.Manager.PermissionDenied");
  REQUIRE(log.size() == 1);
  CHECK(log[0].size() == 256);
  CHECK(log[0].find("\\u{202E}xxx") != std::string::npos);

  RawClient silent = fixture.connect_as(kNobody, kNobody);
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 1);
  fixture.reactor.advance(Duration::seconds(6));
  CHECK(fixture.server->use().clients == 0);
}

TEST_CASE("a request is complete within 5 s of its first byte, or the client goes") {
  ControlFixture fixture;
  RawClient slow = fixture.connect();
  RawClient idle = fixture.connect();
  const std::string text = request("Status");
  slow.write(text.substr(0, 1));
  fixture.reactor.settle();
  for (std::size_t i = 1; i < 5; ++i) {
    fixture.reactor.advance(Duration::milliseconds(900));
    slow.write(text.substr(i, 1));
    fixture.reactor.settle();
    CHECK_FALSE(slow.read());
  }
  fixture.reactor.advance(Duration::milliseconds(1'500));
  const auto all = fixture.until_closed(slow);
  REQUIRE(all.size() == 1);
  CHECK(all[0]["parameters"]["message"] == "the request did not come to its end in time");
  // Waiting for something to ask is no offence.
  fixture.reactor.advance(Duration::seconds(3'600));
  CHECK(fixture.call(idle, text).contains("parameters"));
}

TEST_CASE("an answer may take as long as it takes") {
  ControlFixture fixture;
  std::shared_ptr<Call> kept;
  fixture.handler = [&](std::shared_ptr<Call> call) { kept = std::move(call); };
  RawClient client = fixture.connect();
  client.write(request("Status") + "{");
  fixture.reactor.settle();
  fixture.reactor.advance(Duration::seconds(100));
  REQUIRE(kept->connected());
  kept->reply({{"n", 1}});
  CHECK(fixture.answers(client, 1).size() == 1);
  // Only now the rest of the next request is due.
  fixture.reactor.advance(Duration::milliseconds(5'001));
  CHECK(fixture.until_closed(client).size() == 1);
}

TEST_CASE("a closing client that does not read is not waited for") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    call->reply({{"fill", std::string(1'000'000, 'x')}});
  };
  RawClient client = fixture.connect();
  client.write(request("Status"));
  fixture.reactor.settle();
  client.write(std::string("[]\0", 3));
  fixture.reactor.settle();
  RawClient wrong = fixture.connect();
  wrong.write(std::string("[]\0", 3));
  fixture.reactor.settle();
  fixture.reactor.advance(Duration::seconds(6));
  CHECK(fixture.server->use().clients == 1);  // the first one's bad call waits behind its answer
}

TEST_CASE("when all slots are taken the longest idle goes, and root always comes in") {
  if (!is_root()) return;
  ControlLimits limits;
  limits.clients = 10;
  limits.clients_per_uid = 100;
  ControlFixture fixture(limits, {0, kOperators, std::nullopt});
  std::vector<std::shared_ptr<Call>> calls;
  fixture.handler = [&](std::shared_ptr<Call> call) { calls.push_back(std::move(call)); };
  std::vector<RawClient> others;
  for (int i = 0; i < 8; ++i)
    others.push_back(fixture.connect_as(kNobody, kOperators));
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 8);
  RawClient ninth = fixture.connect_as(kNobody, kOperators);
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 8);
  CHECK(others[0].read());
  CHECK_FALSE(others[1].read());

  // All of them busy: the next one is refused, with a reason.
  for (RawClient& client : others)
    client.write(request("Status"));
  ninth.write(request("Status"));
  fixture.reactor.settle();
  RawClient tenth = fixture.connect_as(kNobody, kOperators);
  const auto told = fixture.until_closed(tenth);
  REQUIRE(told.size() == 1);
  CHECK(told[0]["error"] == "io.mtd.Manager.Busy");

  std::vector<RawClient> roots;
  for (int i = 0; i < 12; ++i) {
    roots.push_back(fixture.connect());
    roots.back().write(request("Limits"));
    fixture.reactor.settle();
    CHECK(calls.back()->peer().privileged);
  }
  CHECK(fixture.server->use().clients == 10);
}

TEST_CASE("a uid has 64 connections") {
  if (!is_root()) return;
  ControlFixture fixture({}, {0, kOperators, std::nullopt});
  std::vector<RawClient> others;
  for (int i = 0; i < 70; ++i)
    others.push_back(fixture.connect_as(kNobody, kOperators));
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 64);
  RawClient other = fixture.connect_as(kNobody - 1, kOperators);
  RawClient root = fixture.connect();
  fixture.reactor.settle();
  CHECK(fixture.server->use().clients == 66);
}

TEST_CASE("out of descriptors: idle clients go, nobody spins, root comes in") {
  if (!is_root()) return;
  ControlFixture fixture({}, {0, kOperators, std::nullopt});
  std::vector<std::shared_ptr<Call>> calls;
  fixture.handler = [&](std::shared_ptr<Call> call) { calls.push_back(std::move(call)); };
  std::vector<RawClient> others;
  for (int i = 0; i < 30; ++i)
    others.push_back(fixture.connect_as(kNobody, kOperators));
  RawClient root = fixture.connect();
  {
    const DescriptorLimit limit(10);
    for (RawClient& client : others)
      client.write(request("Status"));
    fixture.reactor.settle();
    // Room for ten; those were busy, so the others were accepted with the spare and sent away.
    root.write(request("Limits"));
    fixture.reactor.settle();
    const std::size_t turns = fixture.reactor.turns();
    fixture.reactor.settle();
    CHECK(fixture.reactor.turns() - turns <= 2);
    CHECK(fixture.server->use().clients >= 2);
    REQUIRE_FALSE(calls.empty());
    CHECK(calls.back()->peer().privileged);
    calls.clear();
  }
  others.clear();
  fixture.reactor.settle();
  fixture.reactor.advance(Duration::seconds(1));
  RawClient fresh = fixture.connect();
  fixture.handler = [](const std::shared_ptr<Call>& call) { call->reply(json::object()); };
  CHECK(fixture.call(fresh, request("Status")).contains("parameters"));
}

TEST_CASE("idle clients until EMFILE: a new one is served") {
  ControlFixture fixture;
  std::vector<RawClient> idle;
  for (int i = 0; i < 100; ++i)
    idle.push_back(fixture.connect());
  RawClient asking = fixture.connect();
  asking.write(request("Status"));
  const DescriptorLimit limit(20);
  CHECK(fixture.answers(asking, 1).size() == 1);
  CHECK(fixture.server->use().clients <= 20);
  CHECK(fixture.server->use().dropped_idle >= 80);
}

TEST_CASE("passed descriptors do not pile up") {
  ControlFixture fixture;
  RawClient client = fixture.connect();
  CHECK(fixture.call(client, request("Status")).contains("parameters"));
  const std::size_t before = open_descriptors();
  const std::string text = request("Status");
  std::array<int, 250> passed{};
  passed.fill(0);
  for (int i = 0; i < 1'000; ++i) {
    std::array<char, CMSG_SPACE(sizeof passed)> control{};
    iovec data{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(header), passed.data(), sizeof passed);
    REQUIRE(::sendmsg(client.fd(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    REQUIRE(fixture.answers(client, 1).size() == 1);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("storms of connections leave nothing") {
  ControlFixture fixture;
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 2'000; ++i) {
    RawClient client = fixture.connect();
    if (i % 3 != 0) client.write(i % 3 == 1 ? request("Status") : "{\"method\"");
    if (i % 5 == 0) fixture.reactor.turn();
    if (i % 7 == 0) client.read();
  }
  fixture.reactor.settle();
  fixture.reactor.advance(Duration::seconds(6));
  CHECK(fixture.server->use().clients == 0);
  CHECK(fixture.server->use().unparsed_bytes == 0);
  CHECK(open_descriptors() == before);
}

TEST_CASE("the server goes with calls under way") {
  ControlFixture fixture;
  std::shared_ptr<Call> kept;
  int gone = 0;
  fixture.handler = [&](std::shared_ptr<Call> call) {
    kept = std::move(call);
    kept->on_disconnect([&] { ++gone; });
  };
  RawClient client = fixture.connect();
  client.write(request("Status"));
  fixture.reactor.settle();
  fixture.server.reset();
  CHECK(gone == 1);
  CHECK_FALSE(kept->connected());
  kept->reply(json::object());
  kept.reset();
}
