#include "daemon/control/clients.h"

#include <algorithm>
#include <vector>

namespace mtd::control {
namespace {

constexpr std::size_t kHeldBack = 2;  // slots for uid 0 and the owner

}  // namespace

void ControlClients::add(std::shared_ptr<Connection> connection) {
  ++per_uid_[connection->peer().credentials.uid];
  Connection* key = connection.get();
  connections_.emplace(key, std::move(connection));
}

void ControlClients::remove(Connection& connection) {
  set_idle(connection, false);
  const auto count = per_uid_.find(connection.peer().credentials.uid);
  if (count != per_uid_.end() && --count->second == 0) per_uid_.erase(count);
  connections_.erase(&connection);
}

std::list<Connection*>& ControlClients::idle_list(const Connection& connection) {
  return connection.peer().privileged ? idle_privileged_ : idle_;
}

void ControlClients::set_idle(Connection& connection, bool idle) {
  std::list<Connection*>& list = idle_list(connection);
  auto& place = connection.notes.idle;
  if (idle && place) {
    list.splice(list.end(), list, *place);
  } else if (idle) {
    place = list.insert(list.end(), &connection);
  } else if (place) {
    list.erase(*place);
    place.reset();
  }
}

bool ControlClients::drop_front(std::list<Connection*>& idle) {
  if (idle.empty()) return false;
  ++dropped_idle_;
  idle.front()->close();
  return true;
}

bool ControlClients::drop_idle() {
  return drop_front(idle_) || drop_front(idle_privileged_);
}

bool ControlClients::drop_idle_of(uid_t uid) {
  const auto at = std::find_if(idle_.begin(), idle_.end(), [&](const Connection* connection) {
    return connection->peer().credentials.uid == uid;
  });
  if (at == idle_.end()) return false;
  ++dropped_idle_;
  (*at)->close();
  return true;
}

bool ControlClients::drop_any_unprivileged() {
  const auto at = std::find_if(connections_.begin(), connections_.end(),
                               [](const auto& entry) { return !entry.second->peer().privileged; });
  if (at == connections_.end()) return false;
  at->second->close();
  return true;
}

bool ControlClients::make_room(const Peer& peer, const ControlLimits& limits) {
  if (peer.privileged) {
    return size() < limits.clients || drop_idle() || drop_any_unprivileged();
  }
  const auto own = per_uid_.find(peer.credentials.uid);
  if (own != per_uid_.end() && own->second >= limits.clients_per_uid &&
      !drop_idle_of(peer.credentials.uid)) {
    return false;
  }
  const std::size_t open_to_all = limits.clients > kHeldBack ? limits.clients - kHeldBack : 0;
  return size() < open_to_all || (open_to_all > 0 && drop_front(idle_));
}

void ControlClients::drop_worst_reader() {
  const auto worse = [](const auto& a, const auto& b) {
    const bool a_privileged = a.second->peer().privileged;
    const bool b_privileged = b.second->peer().privileged;
    if (a_privileged != b_privileged) return a_privileged;
    return a.second->unread() < b.second->unread();
  };
  const auto worst = std::max_element(connections_.begin(), connections_.end(), worse);
  if (worst != connections_.end()) worst->second->close();
}

void ControlClients::for_each(const std::function<void(Connection&)>& visit) {
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(connections_.size());
  for (const auto& [key, connection] : connections_)
    all.push_back(connection);
  for (const auto& connection : all)
    visit(*connection);
}

void ControlClients::clear() {
  for_each([](Connection& connection) { connection.close(); });
}

}  // namespace mtd::control
