// Notifications: gives each datagram of NOTIFY_SOCKET to the worker it came from. A sender counts
// if it is a worker's main process, lives in a worker's cgroup, or descends from a main process.
// What cannot be attributed is counted and shown by `why`.
//
// A worker may speak before the keeper's message about its start has been read: such datagrams
// wait, while spawns are under way, for the next look, which is due when that message has come.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/notify_socket.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxDrained = 4096;

struct Unattributed {
  std::uint64_t count = 0;
  int last_pid = 0;
  std::uint32_t last_uid = 0;
};

class Notifications {
 public:
  struct Hooks {
    // Main processes, alive or just exited.
    std::function<std::optional<keeper::Key>(int pid)> main_process;
    std::function<std::optional<keeper::Key>(int pid)> by_cgroup;
    std::function<std::optional<int>(int pid)> parent;
    // True: whoever is in no worker's cgroup is nobody's, and its ancestors need not be looked at.
    std::function<bool()> has_cgroups = [] { return false; };
    // False: this worker is not known to run yet.
    std::function<bool(const keeper::Key&)> is_started;
    std::function<bool()> spawns_under_way;
    std::function<void(const keeper::Key&, const sys::Notification&)> deliver;
  };

  Notifications(sys::NotifySocket socket, Hooks hooks)
      : socket_(std::move(socket)), hooks_(std::move(hooks)) {}

  [[nodiscard]] int fd() const { return socket_.fd(); }
  // Goes on with another socket (the file of the first one was removed).
  void replace(sys::NotifySocket socket) { socket_ = std::move(socket); }
  // Takes in what has arrived, and what waited; at most kMaxDrained, so that a worker that never
  // stops talking holds up nobody. False: there may be more.
  bool drain();
  // Something waits to be told whose it is.
  [[nodiscard]] bool has_waiting() const { return !parked_.empty(); }
  [[nodiscard]] const Unattributed& unattributed() const { return unattributed_; }
  [[nodiscard]] std::optional<keeper::Key> attribute(int pid) const;

 private:
  [[nodiscard]] bool take_in();
  void handle(sys::Notification notification);

  sys::NotifySocket socket_;
  Hooks hooks_;
  std::deque<sys::Notification> parked_;
  Unattributed unattributed_;
  bool draining_ = false;
};

}  // namespace mtd::supervisor
