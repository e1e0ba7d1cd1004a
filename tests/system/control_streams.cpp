// Streams and slow readers: what is produced, what is kept, what a vanished client leaves.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <string>

#include "tests/support/control_fixture.h"

using namespace mtd::test;
using namespace mtd::control;
using mtd::Duration;
using nlohmann::json;

namespace {

Piece numbered(int n, std::size_t bytes) {
  return Piece::part({{"n", n}, {"fill", std::string(bytes, 'x')}});
}

void shrink_buffers(const RawClient& client) {
  const int size = 1;
  REQUIRE(::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
}

}  // namespace

TEST_CASE("a stream is produced as it is read") {
  ControlFixture fixture;
  int produced = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    call->stream([&produced] {
      return ++produced == 200 ? Piece::last({{"n", produced}}) : numbered(produced, 60'000);
    });
  };
  RawClient client = fixture.connect();
  shrink_buffers(client);
  client.write(request("Status", "{}", ",\"more\":true"));
  fixture.reactor.settle();
  // The kernel's buffer and one piece of ours, not 12 MB.
  CHECK(produced < 20);
  CHECK(fixture.server->use().unread_bytes < 256 * 1024);
  const auto all = fixture.answers(client, 200);
  REQUIRE(all.size() == 200);
  CHECK(all[0]["continues"] == true);
  CHECK(all[198]["parameters"]["n"] == 199);
  CHECK(all[199].count("continues") == 0);
  CHECK(fixture.server->use().unread_bytes == 0);
  // The connection is good for more.
  fixture.handler = [](const std::shared_ptr<Call>& call) { call->reply({{"ok", true}}); };
  CHECK(fixture.call(client, request("Status"))["parameters"]["ok"] == true);
}

TEST_CASE("without more a stream is one reply") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    auto first = std::make_shared<bool>(true);
    call->stream([first, weak = std::weak_ptr<Call>(call)] {
      if (std::exchange(*first, false)) {
        if (const auto locked = weak.lock()) locked->wake();
        return Piece::wait();
      }
      return numbered(1, 1);
    });
  };
  RawClient client = fixture.connect();
  const json reply = fixture.call(client, request("Status"));
  CHECK(reply["parameters"]["n"] == 1);
  CHECK(reply.count("continues") == 0);
}

TEST_CASE("a stream waits until it is woken, and ends when the client goes") {
  ControlFixture fixture;
  std::weak_ptr<Call> streaming;
  int asked = 0;
  int gone = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    streaming = call;
    call->on_disconnect([&] { ++gone; });
    call->stream([&] { return ++asked % 2 == 0 ? numbered(asked, 1) : Piece::wait(); });
  };
  RawClient client = fixture.connect();
  client.write(request("Status", "{}", ",\"more\":true"));
  fixture.reactor.settle();
  CHECK(asked == 1);
  fixture.reactor.settle();
  CHECK(asked == 1);
  streaming.lock()->wake();
  fixture.reactor.settle();
  CHECK(asked == 3);
  CHECK(fixture.answers(client, 1).size() == 1);
  client.close();
  fixture.reactor.settle();
  CHECK(gone == 1);
  CHECK(streaming.expired());
  CHECK(fixture.server->use().clients == 0);
}

TEST_CASE("parts pushed to a client that does not read are dropped beyond 256 KiB") {
  ControlFixture fixture;
  std::shared_ptr<Call> kept;
  fixture.handler = [&](std::shared_ptr<Call> call) { kept = std::move(call); };
  RawClient client = fixture.connect();
  client.write(request("Status", "{}", ",\"more\":true"));
  fixture.reactor.settle();
  int taken = 0;
  for (int i = 0; i < 1'000; ++i) {
    if (kept->reply_part({{"fill", std::string(10'000, 'x')}})) ++taken;
    fixture.reactor.settle();
  }
  CHECK(taken > 20);
  CHECK(taken < 100);
  CHECK(fixture.server->use().unread_bytes < 512 * 1024);
  kept->reply({{"last", true}});
  const auto all = fixture.answers(client, static_cast<std::size_t>(taken) + 1);
  CHECK(all.back()["parameters"]["last"] == true);
}

TEST_CASE("pipelined calls of a client that never reads stop being served") {
  ControlFixture fixture;
  int served = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    ++served;
    call->reply({{"fill", std::string(10'000, 'x')}});
  };
  RawClient client = fixture.connect();
  std::string burst;
  for (int i = 0; i < 400; ++i)
    burst += request("Status");
  client.write(burst);
  fixture.reactor.settle();
  CHECK(served < 100);
  CHECK(fixture.server->use().unread_bytes < 64 * 1024);
  CHECK(fixture.answers(client, 400).size() == 400);
}

TEST_CASE("a client that vanishes in the middle of an answer harms nobody") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    call->reply({{"fill", std::string(1'000'000, 'x')}});
  };
  for (int i = 0; i < 20; ++i) {
    RawClient client = fixture.connect();
    client.write(request("Status"));
    for (int turns = 0; turns < i; ++turns)
      fixture.reactor.turn();
    client.close();
    fixture.reactor.settle();
  }
  CHECK(fixture.server->use().clients == 0);
  CHECK(fixture.server->use().unread_bytes == 0);
  CHECK(fixture.server->use().unparsed_bytes == 0);
}

TEST_CASE("an answer beyond 16 MiB is an error instead") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    call->reply({{"fill", std::string((16 << 20) + 1, 'x')}});
  };
  RawClient client = fixture.connect();
  CHECK(fixture.call(client, request("Status"))["error"] == "io.mtd.Manager.Failed");
}

TEST_CASE("over all clients unread answers are bounded; the worst reader goes") {
  ControlLimits limits;
  limits.unread_bytes_total = 8 << 20;
  ControlFixture fixture(limits);
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    call->reply({{"fill", std::string(3 << 20, 'x')}});
  };
  std::vector<RawClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(fixture.connect());
    clients.back().write(request("Status"));
    fixture.reactor.settle();
    CHECK(fixture.server->use().unread_bytes <= limits.unread_bytes_total);
  }
  CHECK(fixture.server->use().clients < 10);
  clients.clear();
  fixture.reactor.settle();
  CHECK(fixture.server->use().unread_bytes == 0);
}

TEST_CASE("many woken streams take turns") {
  ControlLimits limits;
  ControlFixture fixture(limits);
  std::vector<std::weak_ptr<Call>> waiting;
  int pieces = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    auto due = std::make_shared<bool>(false);
    waiting.push_back(call);
    call->stream([&, due] {
      *due = !*due;
      if (*due) return Piece::wait();
      fixture.reactor.advance_clock(Duration::nanoseconds(50'000));
      ++pieces;
      return numbered(pieces, 1);
    });
  };
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(fixture.connect());
    clients.back().write(request("Status", "{}", ",\"more\":true"));
    fixture.reactor.settle();
  }
  REQUIRE(waiting.size() == 200);
  fixture.server->wake_all(std::move(waiting));
  CHECK(pieces == 0);
  fixture.reactor.turn();
  CHECK(pieces <= 5);
  fixture.reactor.settle();
  CHECK(pieces == 200);
}
