// ControlClients: who is connected, who may come in, and who has to go for them. Owns the
// connections. The last two slots are for uid 0 and the owner, who are never locked out; other uids
// have a share each; of clients that ask for nothing, the one idle for longest goes first. Used by
// the transport only.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>

#include "daemon/control/connection.h"

namespace mtd::control {

class ControlClients {
 public:
  void add(std::shared_ptr<Connection> connection);
  void remove(Connection& connection);
  void set_idle(Connection& connection, bool idle);
  // Closes at most one other client. False: `peer` cannot be let in.
  [[nodiscard]] bool make_room(const Peer& peer, const ControlLimits& limits);
  // The longest idle one, of uid 0 and the owner last. False: nobody is idle.
  bool drop_idle();
  // The one with the most unread bytes, of uid 0 and the owner last.
  void drop_worst_reader();
  // All are closed; calls under way are told.
  void clear();
  void for_each(const std::function<void(Connection&)>& visit);
  [[nodiscard]] std::size_t size() const { return connections_.size(); }
  [[nodiscard]] std::uint64_t dropped_idle() const { return dropped_idle_; }

 private:
  [[nodiscard]] std::list<Connection*>& idle_list(const Connection& connection);
  bool drop_front(std::list<Connection*>& idle);
  bool drop_idle_of(uid_t uid);
  bool drop_any_unprivileged();

  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::unordered_map<uid_t, std::size_t> per_uid_;
  std::list<Connection*> idle_, idle_privileged_;  // longest idle first
  std::uint64_t dropped_idle_ = 0;
};

}  // namespace mtd::control
