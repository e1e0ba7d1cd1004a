// Probes of servers and measurements of memory, against the real kernel.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "common/unique_fd.h"
#include "daemon/sys/connection_probe.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/memory_use.h"

using namespace mtd;
using namespace mtd::sys;

namespace {

using Kind = ProbeAnswer::Kind;
constexpr const char* kRequest = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

// A child that accepts one connection and plays `answer`, then holds it open or closes it.
class Server {
 public:
  Server(std::string answer, bool closes) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) play(answer, closes);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::uint16_t port = 0;

 private:
  [[noreturn]] void play(const std::string& answer, bool closes) const {
    const int peer = ::accept(listener_.get(), nullptr, nullptr);
    char request[512];
    (void)!::read(peer, request, sizeof(request));
    (void)!::write(peer, answer.data(), answer.size());
    if (!closes) ::pause();
    ::_exit(0);
  }
  UniqueFd listener_;
  pid_t pid_ = 0;
};

ProbeAnswer ask(const ProbedServer& server, Duration timeout = Duration::seconds(20)) {
  auto loop = EventLoop::create();
  REQUIRE(loop);
  ProbeAnswer got{Kind::unknown, "never answered"};
  int answers = 0;
  auto probe = ConnectionProbe::start(*loop, server, timeout, [&](const ProbeAnswer& answer) {
    got = answer;
    ++answers;
    loop->stop(0);
  });
  REQUIRE(loop->run());
  CHECK(answers == 1);
  return got;
}

ProbedServer http(const Server& server) {
  return {"127.0.0.1", server.port, "", kRequest};
}

}  // namespace

TEST_CASE("statuses from 200 to 399 pass, whatever follows them") {
  for (const char* status : {"200 OK", "204 No Content", "302 Found", "399 x"}) {
    const Server server(std::string("HTTP/1.1 ") + status + "\r\n\r\nbody", true);
    CHECK(ask(http(server)).kind == Kind::passed);
  }
  for (const char* status : {"199 x", "400 Bad", "503 Busy"}) {
    const Server server(std::string("HTTP/1.0 ") + status + "\r\n\r\n", true);
    const auto answer = ask(http(server));
    CHECK(answer.kind == Kind::failed);
    CHECK(answer.text == "status " + std::string(status).substr(0, 3));
  }
}

TEST_CASE("an answer whose status is known passes at the deadline though it does not end") {
  const Server server("HTTP/1.1 200 OK\r\n\r\nforever", false);
  CHECK(ask(http(server), Duration::milliseconds(300)).kind == Kind::passed);
}

TEST_CASE("what is no HTTP fails, and its bytes are not repeated") {
  for (const char* answer : {"", "HTTP/1.1 ", "HTTP/1.1 abc def", "\x1b]0;evil\x07 lots of bytes",
                             "HTTP/2 200 OK\r\n\r\n"}) {
    const Server server(answer, true);
    const auto got = ask(http(server));
    CHECK(got.kind == Kind::failed);
    CHECK(got.text == "the answer is not HTTP");
  }
}

TEST_CASE("nobody answers: no connection, or silence until the deadline") {
  std::uint16_t port = 0;
  {
    const Server gone("", true);
    port = gone.port;
  }
  const auto refused = ask({"127.0.0.1", port, "", ""});
  CHECK(refused.kind == Kind::failed);
  CHECK(refused.text == "connect: Connection refused");
  const Server silent("", false);
  const auto mute = ask(http(silent), Duration::milliseconds(300));
  CHECK(mute.kind == Kind::failed);
  CHECK(mute.text == "no answer in time");
  CHECK(ask({"", 0, "/no/such/socket", ""}).text == "connect: No such file or directory");
}

TEST_CASE("a connection is enough without a request; a full backlog is a failure") {
  const Server server("", false);
  CHECK(ask({"127.0.0.1", server.port, "", ""}).kind == Kind::passed);
  const std::string path = "/tmp/mtd-probe-test-" + std::to_string(::getpid());
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::listen(listener.get(), 0) == 0);
  CHECK(ask({"", 0, path, ""}).kind == Kind::passed);
  const auto full = ask({"", 0, path, ""});
  CHECK(full.kind == Kind::failed);
  CHECK(full.text == "connect: nobody accepts, the backlog is full");
  ::unlink(path.c_str());
}

TEST_CASE("a probe that is dropped answers nobody") {
  auto loop = EventLoop::create();
  REQUIRE(loop);
  bool answered = false;
  {
    auto probe = ConnectionProbe::start(*loop, {"", 0, "/no/such/socket", ""}, Duration::seconds(1),
                                        [&](const ProbeAnswer&) { answered = true; });
  }
  loop->post(Priority::idle, [&] { loop->stop(0); });
  REQUIRE(loop->run());
  CHECK_FALSE(answered);
}

TEST_CASE("memory of a process and of its tree") {
  constexpr std::size_t kTaken = 32 << 20;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto* const memory = new char[kTaken];
    std::memset(memory, 1, kTaken);
    if (::fork() == 0) ::pause();  // shares it all
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(memory[0]);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  const auto tree = tree_of(child);
  REQUIRE(tree.size() == 2);
  std::uint64_t resident = 0;
  for (const pid_t pid : tree)
    resident += resident_bytes(pid);
  CHECK(resident >= 2 * kTaken);
  const std::uint64_t shared_once = proportional_bytes(tree);
  CHECK(shared_once >= kTaken);
  CHECK(shared_once < kTaken + kTaken / 2);
  for (const pid_t pid : tree)
    ::kill(pid, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(resident_bytes(child) == 0);
  ::close(ready[0]);
  ::close(ready[1]);
}
