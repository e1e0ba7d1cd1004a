#include "daemon/supervisor/model/hooks.h"

#include <algorithm>

namespace mtd::model {

const config::CommandSpec& hook_of(const config::PoolSpec& spec, HookKind kind) {
  return spec.hooks.*config::kHooks[static_cast<std::size_t>(kind)].member;
}

std::optional<HookKind> hook_for(const PublishAction& fact) {
  const Happening happening = fact.happening;
  if (happening == Happening::ready) return HookKind::on_start;
  if (happening == Happening::exited) return HookKind::on_exit;
  const bool failure = happening == Happening::failed || happening == Happening::breaker_opened ||
                       happening == Happening::rollout_failed;
  return failure ? std::optional(HookKind::on_failed) : std::nullopt;
}

std::optional<HookCall> HookQueue::put(HookCall call) {
  std::optional<HookCall> dropped;
  if (waiting_.size() >= kMaxQueuedHooks) {
    auto oldest = std::find_if(waiting_.begin(), waiting_.end(), [](const HookCall& each) {
      return each.kind != HookKind::on_failed;
    });
    if (oldest == waiting_.end()) oldest = waiting_.begin();
    dropped = *oldest;
    waiting_.erase(oldest);
    ++counts_.dropped;
  }
  waiting_.push_back(call);
  return dropped;
}

std::optional<HookCall> HookQueue::take() {
  if (running_ || waiting_.empty()) return std::nullopt;
  const HookCall next = waiting_.front();
  waiting_.pop_front();
  running_ = true;
  ++counts_.run;
  return next;
}

void HookQueue::ended(bool well) {
  running_ = false;
  if (!well) ++counts_.failed;
}

}  // namespace mtd::model
