// What clients are told, and when.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/broker/client_stream.h"
#include "daemon/broker/moments.h"
#include "daemon/sys/clock.h"
#include "tests/support/refused_calls.h"
#include "tests/support/temporary_directory.h"

using namespace mtd;
using namespace mtd::broker;

namespace {

struct Host final : ClientHost {
  void put(ClientStream&, PutFrame, std::string) override {}
  void wait(ClientStream&, const WaitFrame&) override {}
  void cancel(ClientStream&, const CancelFrame&) override {}
  void forget(const ForgetFrame&) override {}
  void tell_later(ClientStream&, std::int64_t, task::TaskId) override {}
  void closed(ClientStream&) override {}
  void call_in_a_moment(ClientStream& client) override { moments.add(client); }
  void flush_this_turn(ClientStream& client) override {
    to_flush.push_back(client.weak_from_this());
  }
  [[nodiscard]] Result<SpoolReader> open_result(const std::string&) override {
    if (!spool) return Error{"there is none"};
    return spool->open("1.1");
  }
  [[nodiscard]] std::size_t max_body() const override { return 1024; }
  Moments moments;
  std::vector<std::weak_ptr<ClientStream>> to_flush;
  std::optional<PartSpool> spool;
};

struct Client {
  Client(Host& host, sys::EventLoop& loop) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    other = UniqueFd(ends[1]);
    stream = std::make_shared<ClientStream>(host, loop, UniqueFd(ends[0]));
    REQUIRE(stream->start({}));
  }
  [[nodiscard]] std::string heard() const {
    std::array<char, 4096> bytes{};
    const ssize_t got = ::recv(other.get(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  }
  UniqueFd other;
  std::shared_ptr<ClientStream> stream;
};

}  // namespace

TEST_CASE("a client whose tasks end quickly holds up nobody who waits behind it") {
  sys::EventLoop loop = *sys::EventLoop::create();
  Host host;
  const Client quick(host, loop), slow(host, loop);
  quick.stream->ok(1, {1}, false, true);
  slow.stream->ok(1, {2}, false, true);
  const Instant over = slow.stream->wait_ends();
  while (quick.stream->wait_ends() <= over) {  // its task has ended, and it has put another
    quick.stream->flush();
    CHECK(quick.heard().find("\"seq\":1") != std::string::npos);
    quick.stream->ok(1, {3}, false, true);
  }
  host.moments.end(over);
  CHECK(slow.heard() == "{\"t\":\"ok\",\"seq\":1,\"id\":2}\n");
  CHECK(quick.heard().empty());
  CHECK(host.moments.next() == quick.stream->wait_ends());
  host.moments.end(quick.stream->wait_ends());
  CHECK_FALSE(quick.heard().empty());
  CHECK(host.moments.next().is_never());
}

TEST_CASE(
    "the last answer that a client waits for goes at the end of the turn, others in company") {
  sys::EventLoop loop = *sys::EventLoop::create();
  Host host;
  const Client client(host, loop);
  for (const std::uint64_t id : {1U, 2U})
    client.stream->watch({id}, static_cast<std::int64_t>(id));
  TaskEnd end;
  end.id = {1};
  client.stream->end(end);
  CHECK(host.to_flush.empty());
  CHECK(client.heard().empty());
  REQUIRE(*loop.turn(Duration()));
  CHECK(client.heard().find("\"seq\":1") != std::string::npos);
  end.id = {2};
  client.stream->end(end);
  REQUIRE(host.to_flush.size() == 1);
  CHECK(client.heard().empty());
  host.to_flush.front().lock()->flush_now();
  CHECK(client.heard().find("\"seq\":2") != std::string::npos);
  CHECK_FALSE(*loop.turn(Duration()));
}

TEST_CASE("a result waits for a descriptor that its file can be read by, and is not told as lost") {
  const test::TemporaryDirectory directory;
  sys::EventLoop loop = *sys::EventLoop::create();
  Host host;
  SpoolOptions options;
  options.directory = directory.path + "/parts";
  host.spool.emplace(options);
  REQUIRE(host.spool->add({1}, 1, 0, "all of it"));
  REQUIRE(host.spool->make_result({1}, 1) == "1.1");
  const Client client(host, loop);
  client.stream->watch({1}, 1);
  TaskEnd end;
  end.id = {1};
  end.state = task::TaskState::done;
  end.answer = std::make_shared<task::Answer>(task::Answer{"", "", "1.1", ""});
  client.stream->end(end);
  {
    const test::NoDescriptors none;
    client.stream->flush();
    CHECK(client.heard().empty());
  }
  std::string heard;
  while (heard.find("\"end\"") == std::string::npos) {
    REQUIRE(loop.turn(Duration::infinite()));
    heard += client.heard();
  }
  CHECK(heard.find("all of it") != std::string::npos);
  CHECK(heard.find("\"state\":\"done\"") != std::string::npos);
}

TEST_CASE("moments become longer as long as ends come within them, and short again") {
  sys::EventLoop loop = *sys::EventLoop::create();
  Host host;
  const Client client(host, loop);
  const auto moment = [&] {
    const Instant before = sys::now();
    client.stream->ok(1, {1}, false, true);
    REQUIRE_FALSE(client.stream->wait_ends().is_never());
    return client.stream->wait_ends().since(before);
  };
  // Each is measured from before it began: it may look longer than it is, never shorter.
  CHECK(moment() >= Duration::nanoseconds(200'000));
  for (int i = 0; i < 3; ++i) {
    client.stream->flush();
    (void)moment();
  }
  client.stream->flush();
  CHECK(moment() >= Duration::nanoseconds(1'600'000));
  client.stream->moment_over();  // nothing came
  client.stream->ok(1, {1}, false, true);
  CHECK(client.stream->wait_ends().is_never());  // the next one does not wait
  client.stream->flush_now();
  const Instant before = sys::now();
  client.stream->ok(1, {1}, false, true);
  CHECK(client.stream->wait_ends() <= sys::now() + Duration::nanoseconds(200'000));
  CHECK(client.stream->wait_ends() >= before);
}
