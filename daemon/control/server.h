// ControlServer: the Varlink socket. Accepts, names the peer, frames, parses strictly, checks
// access and parameters, answers org.varlink.service itself and hands every other call to the
// Dispatcher.
//
// Guarantees: bounded work a turn (200 µs of calls and answers, shared fairly), bounded memory (a
// request 1 MiB, unread answers 256 KiB a connection before nothing more is produced, 64 MiB over
// all), bounded connections (with slots and a descriptor held back for uid 0 and the owner), no
// signal, no throw, no spin, whatever clients do. It never blocks, and never decides anything about
// pools.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/time.h"
#include "common/unique_fd.h"
#include "daemon/control/access.h"
#include "daemon/control/call.h"
#include "daemon/control/reactor.h"

namespace mtd::control {

struct ControlLimits {
  std::size_t clients = 1024;           // limits.clients; the last two only for uid 0 and the owner
  std::size_t clients_per_uid = 64;     // of other uids
  std::size_t request_bytes = 1 << 20;  // without its NUL
  Duration request_time = Duration::seconds(5);  // from its first byte to its NUL
  std::size_t unread_bytes = 256 * 1024;         // of one connection, before production stops
  std::size_t unread_bytes_total = 64 << 20;     // of all; beyond it the worst connection is closed
  std::size_t unparsed_bytes_total = 64 << 20;   // pipelined input of all
  Duration turn = Duration::nanoseconds(200'000);  // of calls and answers before others have a turn
};

struct ServiceInfo {  // org.varlink.service.GetInfo
  std::string vendor = "mtd";
  std::string product = "mtd";
  std::string version;
  std::string url;
  const Interface* interface = &manager_interface();  // the one that is served
};

// A call worth a log line: refused for want of access, or one that changes something (any tier but
// read; told before it is dispatched).
struct AuditRecord {
  bool refused = false;
  const Peer& peer;
  std::string_view method;  // escaped
  std::string parameters;   // JSON, escaped, at most 256 bytes
};

struct ControlUse {  // for Limits
  std::size_t clients = 0;
  std::size_t unread_bytes = 0;
  std::size_t unparsed_bytes = 0;
  std::uint64_t accepted = 0, refused = 0, dropped_idle = 0, calls = 0;
};

class ControlServer {
 public:
  // `listener`: a listening SOCK_STREAM Unix socket, non-blocking. Both references outlive the
  // server.
  ControlServer(Reactor& reactor, Dispatcher& dispatcher, UniqueFd listener, AccessPolicy policy,
                ControlLimits limits, ServiceInfo info);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void on_audit(std::function<void(const AuditRecord&)> callback);
  // After a reload. Connections keep the tier they were accepted with; more of them than the new
  // limit are not dropped.
  void set_policy(AccessPolicy policy);
  void set_limits(ControlLimits limits);
  // Takes over a new listener (the socket file had been removed) or, given none, accepts no more.
  void set_listener(UniqueFd listener);
  // Wakes many streams without doing the work now: O(1).
  void wake_all(std::vector<std::weak_ptr<Call>>&& calls);
  // Sends what can be sent at once, before exit; waits for nobody.
  void flush();
  [[nodiscard]] ControlUse use() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mtd::control
