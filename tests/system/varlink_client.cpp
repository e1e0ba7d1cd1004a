// The blocking client: what it sends, what it makes of answers, how it fails.
#include "common/varlink_client.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include <nlohmann/json.hpp>

using namespace mtd::varlink;
using mtd::Duration;
using mtd::UniqueFd;
using nlohmann::json;

namespace {

struct Pair {
  Client client;
  UniqueFd server;

  static Pair make() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    return {Client::adopt(UniqueFd(fds[0])), UniqueFd(fds[1])};
  }
  void say(std::string_view text) const {
    REQUIRE(::send(server.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  std::string heard() const {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::recv(server.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return got < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(got));
  }
};

std::string with_nul(std::string text) {
  return text + '\0';
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/mtd-client-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~TemporaryDirectory() {
    ::unlink((path + "/s").c_str());
    ::rmdir(path.c_str());
  }
  std::string path;
};

UniqueFd bind_at(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

}  // namespace

TEST_CASE("a call and its reply") {
  Pair pair = Pair::make();
  pair.say(with_nul(R"({"parameters":{"n":9223372036854775807}})"));
  const auto reply = pair.client.call("Status", {{"select", {"web"}}});
  REQUIRE(reply);
  CHECK_FALSE(reply->is_error());
  CHECK(reply->parameters()["n"].get<std::int64_t>() == 9223372036854775807);
  CHECK(pair.heard() ==
        with_nul(R"({"method":"io.mtd.Manager.Status","parameters":{"select":["web"]}})"));
}

TEST_CASE("errors, several replies, replies in one packet") {
  Pair pair = Pair::make();
  REQUIRE(pair.client.call_more("org.varlink.service.GetInfo", json::object()));
  CHECK(pair.heard() ==
        with_nul(R"({"method":"org.varlink.service.GetInfo","parameters":{},"more":true})"));
  pair.say(with_nul(R"({"parameters":{"n":1},"continues":true})") +
           with_nul(R"({"continues":true})") +
           with_nul(R"({"error":"io.mtd.Manager.NoSuchPool","parameters":{"selector":"x"}})"));
  auto reply = pair.client.receive();
  REQUIRE(reply);
  CHECK(reply->continues());
  CHECK(pair.client.has_buffered_reply());
  reply = pair.client.receive();
  REQUIRE(reply);
  CHECK(reply->parameters() == json::object());
  reply = pair.client.receive();
  REQUIRE(reply);
  CHECK(reply->error() == "io.mtd.Manager.NoSuchPool");
  CHECK(reply->error_name() == "NoSuchPool");
  CHECK(reply->parameters()["selector"] == "x");
  CHECK_FALSE(pair.client.has_buffered_reply());
}

TEST_CASE("what is no reply is a failure of the protocol") {
  for (const char* text : {"", "[]", "{", "{\"parameters\":[]}", "{\"error\":1}",
                           "{\"continues\":1}", "{\"parameters\":{\"n\":18446744073709551616}}"}) {
    CAPTURE(text);
    Pair pair = Pair::make();
    pair.say(with_nul(text));
    const auto reply = pair.client.receive();
    REQUIRE_FALSE(reply);
    CHECK(failure_of(reply.error()) == Failure::protocol);
  }
}

TEST_CASE("the other side closes") {
  Pair pair = Pair::make();
  pair.say("{\"parameters\":");
  pair.server.reset();
  const auto reply = pair.client.call("Status", json::object());
  REQUIRE_FALSE(reply);
  CHECK(failure_of(reply.error()) == Failure::closed);
}

TEST_CASE("an answer given before the close is read") {
  Pair pair = Pair::make();
  pair.say(with_nul(R"({"error":"io.mtd.Manager.Busy","parameters":{"message":"full"}})"));
  pair.server.reset();
  const auto reply = pair.client.call("Status", json::object());
  REQUIRE(reply);
  CHECK(reply->error_name() == "Busy");
}

TEST_CASE("the deadline") {
  Pair pair = Pair::make();
  pair.client.set_timeout(Duration::milliseconds(30));
  const auto reply = pair.client.call("Status", json::object());
  REQUIRE_FALSE(reply);
  CHECK(failure_of(reply.error()) == Failure::timed_out);
  // A request that nobody reads.
  Pair stuck = Pair::make();
  stuck.client.set_timeout(Duration::milliseconds(30));
  const auto sent = stuck.client.call_more("Status", {{"x", std::string(10'000'000, 'x')}});
  REQUIRE_FALSE(sent);
  CHECK(failure_of(sent.error()) == Failure::timed_out);
}

TEST_CASE("connecting: what is wrong is told apart") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/s";
  const auto failure = [](const std::string& at) {
    const auto client = Client::connect(at, Duration::milliseconds(50));
    REQUIRE_FALSE(client);
    CHECK(client.error().message.find(at.substr(0, 40)) != std::string::npos);
    return failure_of(client.error());
  };
  CHECK(failure(path) == Failure::unreachable);
  CHECK(failure("/" + std::string(107, 'x')) == Failure::unreachable);
  {
    const UniqueFd not_listening = bind_at(path);
    CHECK(failure(path) == Failure::unreachable);
    ::unlink(path.c_str());
  }
  UniqueFd listener = bind_at(path);
  REQUIRE(::listen(listener.get(), 0) == 0);
  CHECK(Client::connect(path));
  if (::geteuid() == 0) {
    REQUIRE(::chmod(path.c_str(), 0600) == 0);
    REQUIRE(::seteuid(65534) == 0);
    CHECK(failure(path) == Failure::permission);
    REQUIRE(::seteuid(0) == 0);
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
  }
  // The backlog is full and nobody accepts.
  std::vector<Client> waiting;
  while (waiting.size() < 10) {
    auto client = Client::connect(path, Duration::milliseconds(50));
    if (!client) {
      CHECK(failure_of(client.error()) == Failure::timed_out);
      break;
    }
    waiting.push_back(*std::move(client));
  }
  CHECK(waiting.size() < 10);
}

TEST_CASE("a path of 107 bytes is allowed") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/" + std::string(107 - directory.path.size() - 1, 's');
  UniqueFd listener = bind_at(path);
  REQUIRE(::listen(listener.get(), 1) == 0);
  CHECK(Client::connect(path));
  ::unlink(path.c_str());
}
