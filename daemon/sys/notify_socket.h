// The workers' NOTIFY_SOCKET: datagrams in the form of sd_notify(3), each with the credentials the
// kernel gives for its sender. Who that is, and whether it counts, is not decided here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

struct Notification {
  pid_t pid = 0;  // 0: the sender is outside our pid namespace
  uid_t uid = 0;
  bool ready = false;
  bool newline = false;  // no assignment, but a line: from MTD_READY_FD
  bool stopping = false;
  bool alive = false;                   // WATCHDOG=1
  bool trigger = false;                 // WATCHDOG=trigger
  std::optional<std::uint64_t> extend;  // EXTEND_TIMEOUT_USEC=, microseconds
  // WATCHDOG_USEC=, microseconds, at least 10 000; 0: it wants no watchdog.
  std::optional<std::uint64_t> watchdog;
  std::uint64_t tasks = 0;            // X_MTD_TASKS=+n, at most 1 000 000 a message
  std::optional<std::string> status;  // STATUS=, at most 256 bytes
  std::optional<bool> busy;           // X_MTD_BUSY=1 or 0
};

// Unknown assignments are ignored, as sd_notify(3) wants.
[[nodiscard]] Notification parse_notification(std::string_view text);

// A datagram socket whose messages arrive there, each with the credentials of its writer.
[[nodiscard]] Result<UniqueFd> connect_notify(const std::string& path);

class NotifySocket {
 public:
  NotifySocket() = default;
  explicit NotifySocket(UniqueFd fd) : fd_(std::move(fd)) {}
  // A datagram socket is made ready for use: credentials on, a large receive buffer.
  [[nodiscard]] static Result<NotifySocket> prepare(UniqueFd fd);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // The next message, which stays in the socket until discard(): whoever dies before it has acted
  // on it has not taken it. Descriptors that came along are closed. Empty: there is none.
  [[nodiscard]] std::optional<Notification> peek() const;
  void discard() const;

 private:
  UniqueFd fd_;
};

}  // namespace mtd::sys
