// ConnectionProbe: asks a server whether it is there, without waiting: connects to a TCP port or a
// unix socket, and sends a small HTTP request if there is one. Passed: the connection is accepted,
// and the status of the answer, where one was asked for, is from 200 to 399. The rest of an answer
// is read so that the server may send it, and thrown away.
//
// What the kernel refuses us (descriptors, memory, local ports) is `unknown`: it says nothing about
// the server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/time.h"
#include "daemon/sys/event_loop.h"

namespace mtd::sys {

struct ProbedServer {
  std::string address;  // numeric, IPv4 or IPv6; empty: `socket`
  std::uint16_t port = 0;
  std::string socket;   // path
  std::string request;  // HTTP, whole; empty: none
};

struct ProbeAnswer {
  enum class Kind { passed, failed, unknown };
  Kind kind{};
  std::string text;  // for people: what was wrong; of hostile bytes nothing
};

class ConnectionProbe {
 public:
  using Done = std::function<void(ProbeAnswer)>;

  // `done` runs once, from the loop, at the latest at the deadline; never after the probe was
  // destroyed.
  static ConnectionProbe start(EventLoop& loop, const ProbedServer& server, Duration timeout,
                               Done done);
  ConnectionProbe();
  ConnectionProbe(ConnectionProbe&&) noexcept;
  ConnectionProbe& operator=(ConnectionProbe&&) noexcept;
  ~ConnectionProbe();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mtd::sys
