#include "daemon/sys/connection_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/clock.h"

namespace mtd::sys {
namespace {

using Kind = ProbeAnswer::Kind;

constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr std::size_t kStatusLine = 13;  // "HTTP/1.1 200 "

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address address_of(const ProbedServer& server) {
  Address address;
  if (server.address.empty()) {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    server.socket.copy(un.sun_path, sizeof(un.sun_path) - 1);
    std::memcpy(&address.storage, &un, sizeof(un));
    address.size = sizeof(un);
  } else if (server.address.find(':') != std::string::npos) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(server.port);
    ::inet_pton(AF_INET6, server.address.c_str(), &in6.sin6_addr);
    std::memcpy(&address.storage, &in6, sizeof(in6));
    address.size = sizeof(in6);
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(server.port);
    ::inet_pton(AF_INET, server.address.c_str(), &in.sin_addr);
    std::memcpy(&address.storage, &in, sizeof(in));
    address.size = sizeof(in);
  }
  return address;
}

// Refusals that are ours, not the server's.
bool is_own(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
         error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

ProbeAnswer refused(const char* what, int error) {
  return {is_own(error) ? Kind::unknown : Kind::failed,
          std::string(what) + ": " + std::strerror(error)};
}

ProbeAnswer judge_status(std::string_view answer) {
  const bool is_http = answer.size() >= kStatusLine && answer.starts_with("HTTP/1.");
  int status = 0;
  for (std::size_t i = 9; is_http && i < 12; ++i)
    status = answer[i] >= '0' && answer[i] <= '9' ? status * 10 + (answer[i] - '0') : -100'000;
  if (!is_http || status < 100) return {Kind::failed, "the answer is not HTTP"};
  const bool well = status >= 200 && status < 400;
  return {well ? Kind::passed : Kind::failed, "status " + std::to_string(status)};
}

}  // namespace

struct ConnectionProbe::State {
  UniqueFd fd;
  EventLoop::Watch watch;
  EventLoop::Timer timer;
  std::string request;
  std::size_t sent = 0, received = 0;
  std::string begin;  // of the answer
  bool connected = false;
  Done done;

  void finish(ProbeAnswer answer) {
    watch = {};
    timer = {};
    fd.reset();
    const Done callback = std::exchange(done, nullptr);
    if (callback) callback(std::move(answer));
  }

  void advance() {
    if (!connected && !check_connection()) return;
    if (request.empty()) return finish({Kind::passed, {}});
    if (sent < request.size() && !send_request()) return;
    receive();
  }

  bool check_connection() {
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) {
      finish(refused("connect", error));
      return false;
    }
    connected = true;
    return true;
  }

  // True: all of it is sent.
  bool send_request() {
    const ssize_t n =
        ::send(fd.get(), request.data() + sent, request.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      finish(refused("send", errno));
      return false;
    }
    if (n > 0) sent += static_cast<std::size_t>(n);
    if (sent < request.size()) return false;
    watch.set_events(EPOLLIN);
    return true;
  }

  void receive() {
    std::array<char, 4096> buffer;
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0 && begin.size() < kStatusLine) return finish(refused("receive", errno));
    if (n > 0) {
      received += static_cast<std::size_t>(n);
      const std::size_t missing = kStatusLine - std::min(kStatusLine, begin.size());
      begin.append(buffer.data(), std::min(missing, static_cast<std::size_t>(n)));
      if (received < kMaxAnswer) return;
    }
    finish(judge_status(begin));
  }

  // What has come meanwhile counts: perhaps it was us who slept.
  void on_deadline() {
    if (is_connected()) advance();
    if (!done) return;
    if (begin.size() >= kStatusLine) return finish(judge_status(begin));
    finish({Kind::failed, connected ? "no answer in time" : "no connection in time"});
  }

  [[nodiscard]] bool is_connected() const {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    return connected || ::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0;
  }
};

ConnectionProbe::ConnectionProbe() = default;
ConnectionProbe::ConnectionProbe(ConnectionProbe&&) noexcept = default;
ConnectionProbe& ConnectionProbe::operator=(ConnectionProbe&&) noexcept = default;
ConnectionProbe::~ConnectionProbe() = default;

ConnectionProbe ConnectionProbe::start(EventLoop& loop, const ProbedServer& server,
                                       Duration timeout, Done done) {
  ConnectionProbe probe;
  probe.state_ = std::make_shared<State>();
  const auto& self = probe.state_;
  const std::weak_ptr<State> weak = self;  // a handler's callback may destroy the probe
  self->done = std::move(done);
  self->request = server.request;
  // Whatever is known at once is told from the loop as well.
  const auto tell = [&](ProbeAnswer answer) {
    loop.post(Priority::normal, [answer = std::move(answer), weak] {
      if (const auto state = weak.lock()) state->finish(answer);
    });
  };
  const Address address = address_of(server);
  self->fd.reset(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!self->fd) {
    tell({Kind::unknown, std::string("socket: ") + std::strerror(errno)});
    return probe;
  }
  const bool under_way =
      ::connect(self->fd.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                address.size) == 0 ||
      errno == EINPROGRESS;
  if (!under_way) {
    // Of a unix socket: its backlog is full.
    const char* const full = errno == EAGAIN ? "connect: nobody accepts, the backlog is full" : "";
    tell(*full != '\0' ? ProbeAnswer{Kind::failed, full} : refused("connect", errno));
    return probe;
  }
  auto watch = loop.watch(self->fd.get(), EPOLLOUT, Priority::normal, [weak](std::uint32_t) {
    if (const auto state = weak.lock()) state->advance();
  });
  auto timer = loop.timer(Priority::normal, [weak] {
    if (const auto state = weak.lock()) state->on_deadline();
  });
  if (!watch || !timer) {
    tell({Kind::unknown, "the event loop takes no more"});
    return probe;
  }
  self->watch = std::move(*watch);
  self->timer = std::move(*timer);
  self->timer.arm(now() + timeout);
  return probe;
}

}  // namespace mtd::sys
