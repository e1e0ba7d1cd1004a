// SpawnGate: how many processes may be in set-up at once over all pools (limits.start_concurrency),
// so that the start of thousands leaves the machine usable. What does not fit waits its turn.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

// Without a configured limit: each spawn under way holds a descriptor of its cgroup.
inline constexpr std::uint32_t kMostInSetUp = 1024;

class SpawnGate {
 public:
  void set_limit(std::uint32_t limit) { limit_ = limit == 0 ? kMostInSetUp : limit; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] std::uint32_t in_set_up() const { return in_set_up_; }

  // Runs `spawn` now, or when others have finished their set-up.
  void enter(const keeper::Key& key, std::function<void()> spawn) {
    if (in_set_up_ >= limit_) {
      waiting_.push_back({key, std::move(spawn)});
      return;
    }
    ++in_set_up_;
    spawn();
  }
  // A process left set-up: it runs, or it failed.
  void leave() {
    if (in_set_up_ > 0) --in_set_up_;
    while (!waiting_.empty() && in_set_up_ < limit_) {
      auto next = std::move(waiting_.front());
      waiting_.pop_front();
      ++in_set_up_;
      next.spawn();
    }
  }
  // True: it was still waiting and will not be spawned.
  bool cancel(const keeper::Key& key) {
    for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
      if (!(at->key == key)) continue;
      waiting_.erase(at);
      return true;
    }
    return false;
  }

 private:
  struct Waiting {
    keeper::Key key;
    std::function<void()> spawn;
  };
  std::uint32_t limit_ = kMostInSetUp, in_set_up_ = 0;
  std::deque<Waiting> waiting_;
};

}  // namespace mtd::supervisor
