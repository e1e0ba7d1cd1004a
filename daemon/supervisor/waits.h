// Waits: calls whose answer comes when something has become true. Nothing is polled: each is looked
// at again after something has changed, or when it has asked for it.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "common/time.h"
#include "daemon/supervisor/control_names.h"

namespace mtd::supervisor {

class Waits {
 public:
  // `look` answers the call and returns true, or returns false to be asked again. Asked at once.
  void add(std::shared_ptr<Call> call, std::function<bool()> look) {
    if (!look()) waiting_.push_back({std::move(call), std::move(look)});
  }
  void look_again() {
    // A look may add waits.
    std::vector<Wait> looking = std::move(waiting_);
    waiting_.clear();
    deadline_ = Instant::never();
    for (auto& wait : looking) {
      if (wait.call->connected() && !wait.look()) waiting_.push_back(std::move(wait));
    }
  }
  // For a look that returns false: time alone may make it true.
  void look_again_at(Instant at) { deadline_ = std::min(deadline_, at); }
  [[nodiscard]] Instant deadline() const { return deadline_; }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }
  // All remaining are dropped; a Call answers for itself then.
  void clear() { waiting_.clear(); }

 private:
  struct Wait {
    std::shared_ptr<Call> call;
    std::function<bool()> look;
  };
  std::vector<Wait> waiting_;
  Instant deadline_ = Instant::never();
};

}  // namespace mtd::supervisor
