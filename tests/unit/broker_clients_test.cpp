// What clients are told, and when.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <string>

#include "daemon/broker/client_stream.h"
#include "daemon/broker/moments.h"

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
  [[nodiscard]] Result<SpoolReader> open_result(const std::string&) override {
    return Error{"there is none"};
  }
  [[nodiscard]] std::size_t max_body() const override { return 1024; }
  Moments moments;
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
