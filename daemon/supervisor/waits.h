// Waits: calls whose answer comes when something has become true. Nothing is polled: each is looked
// at again after something has changed.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "daemon/supervisor/control_call.h"

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
    for (auto& wait : looking) {
      if (wait.call->connected() && !wait.look()) waiting_.push_back(std::move(wait));
    }
  }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }
  // All remaining are dropped; a Call answers for itself then.
  void clear() { waiting_.clear(); }

 private:
  struct Wait {
    std::shared_ptr<Call> call;
    std::function<bool()> look;
  };
  std::vector<Wait> waiting_;
};

}  // namespace mtd::supervisor
