// HookQueue: which hook of a pool runs now. Hooks are commands that tell others what has happened;
// they run one at a time and in the order of what happened, so that "ready" never overtakes
// "ended", and a storm of events is a queue of bounded length, never a storm of processes. When it
// is full the oldest one is dropped, one about a failure last. Nothing waits for a hook: no
// restart, no stop. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "daemon/supervisor/model/pool.h"

namespace mtd::model {

inline constexpr std::size_t kMaxQueuedHooks = 64;

enum class HookKind { on_start, on_exit, on_failed };  // as config::kHooks
[[nodiscard]] const config::CommandSpec& hook_of(const config::PoolSpec& spec, HookKind kind);

// What is to be told, and by which hook.
struct HookCall {
  HookKind kind{};
  PublishAction fact;
};

// Which hook a happening is for; empty: none.
[[nodiscard]] std::optional<HookKind> hook_for(const PublishAction& fact);

class HookQueue {
 public:
  // Dropped for want of room: what has waited longest.
  [[nodiscard]] std::optional<HookCall> put(HookCall call);
  // The next one to run; empty: one runs already, or none waits. It then runs until ended().
  [[nodiscard]] std::optional<HookCall> take();
  void ended(bool well);
  // Those that wait are not run any more.
  void clear() { waiting_.clear(); }

  [[nodiscard]] bool is_running() const { return running_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  struct Counts {
    std::uint64_t run = 0, failed = 0, dropped = 0;
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  std::deque<HookCall> waiting_;
  bool running_ = false;
  Counts counts_;
};

}  // namespace mtd::model
