#include "daemon/supervisor/notifications.h"

#include <utility>

namespace mtd::supervisor {
namespace {

constexpr int kMaxAncestors = 32;
constexpr std::size_t kMaxParked = 1024;

}  // namespace

std::optional<keeper::Key> Notifications::attribute(int pid) const {
  if (pid <= 0) return std::nullopt;
  if (auto key = hooks_.main_process(pid)) return key;
  if (auto key = hooks_.by_cgroup(pid)) return key;
  if (hooks_.has_cgroups()) return std::nullopt;
  std::optional<int> ancestor = hooks_.parent(pid);
  for (int i = 0; i < kMaxAncestors && ancestor && *ancestor > 1; ++i) {
    if (auto key = hooks_.main_process(*ancestor)) return key;
    ancestor = hooks_.parent(*ancestor);
  }
  return std::nullopt;
}

bool Notifications::drain() {
  if (std::exchange(draining_, true)) return true;  // whoever began goes on
  const bool all = take_in();
  draining_ = false;
  return all;
}

bool Notifications::take_in() {
  auto waiting = std::exchange(parked_, {});
  for (auto& notification : waiting)
    handle(std::move(notification));
  std::size_t drained = 0;
  for (; drained < kMaxDrained; ++drained) {
    auto arrived = socket_.peek();
    if (!arrived) return true;
    handle(std::move(*arrived));
    socket_.discard();
  }
  return false;
}

void Notifications::handle(sys::Notification notification) {
  const auto key = attribute(notification.pid);
  if (key && hooks_.is_started(*key)) {
    hooks_.deliver(*key, notification);
    return;
  }
  if (hooks_.spawns_under_way() && parked_.size() < kMaxParked) {
    parked_.push_back(std::move(notification));
    return;
  }
  ++unattributed_.count;
  unattributed_.last_pid = notification.pid;
  unattributed_.last_uid = notification.uid;
}

}  // namespace mtd::supervisor
