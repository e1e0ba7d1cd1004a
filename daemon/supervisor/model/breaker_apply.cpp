// The breaker at work in a turn.
#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::count_crash(std::uint32_t slot) {
  const config::CrashLimit& limit = state_.spec.crash_limit;
  const std::uint32_t most = crash_limit(state_.spec, state_.want());
  state_.crashes.add(now_, limit.window, most);
  if (const auto* half_open = std::get_if<BreakerHalfOpen>(&state_.breaker)) {
    if (half_open->probe == slot) open_breaker();
    return;
  }
  if (!std::holds_alternative<BreakerClosed>(state_.breaker)) return;
  if (state_.crashes.count(now_, limit.window) >= most) open_breaker();
}

void Turn::open_breaker() {
  publish(Happening::breaker_opened);
  if (state_.spec.crash_limit.action == config::BreakerAction::backoff) {
    state_.breaker = BreakerOpen{now_ + state_.spec.crash_limit.retry_after};
    return;
  }
  state_.breaker = BreakerTripped{};
  for (std::uint32_t slot = 0; slot < state_.slots.size(); ++slot) {
    if (!rests_as<BackingOff>(state_.slots[slot])) continue;
    state_.slots[slot].rest = Failed{};
    publish_rest(Happening::failed, slot);
    mark(slot);
  }
}

void Turn::close_breaker() {
  state_.breaker = BreakerClosed{};
  state_.crashes.clear();
  publish(Happening::breaker_closed);
  release_waiting();
}

// By a person: also when it is closed, the crashes so far are forgotten.
void Turn::reset_breaker() {
  state_.crashes.clear();
  if (!std::holds_alternative<BreakerClosed>(state_.breaker)) close_breaker();
}

bool Turn::breaker_lets(std::uint32_t slot) {
  if (kSeededFault == SeededFault::breaker_ignored) return true;
  if (std::holds_alternative<BreakerClosed>(state_.breaker)) return true;
  if (auto* half_open = std::get_if<BreakerHalfOpen>(&state_.breaker)) {
    if (!half_open->probe) half_open->probe = slot;
    if (half_open->probe == slot) return true;
  }
  state_.waiting_for_breaker.insert(slot);
  return false;
}

void Turn::release_waiting() {
  const std::set<std::uint32_t> released = std::move(state_.waiting_for_breaker);
  state_.waiting_for_breaker.clear();
  for (auto it = released.rbegin(); it != released.rend(); ++it)
    mark(*it);
}

void Turn::check_probe(std::uint32_t number) {
  auto* half_open = std::get_if<BreakerHalfOpen>(&state_.breaker);
  if (half_open == nullptr || half_open->probe != number) return;
  const Slot& slot = state_.slots[number];
  const Process* current = slot.current();
  const bool stable = current != nullptr && is_stable(*current);
  if (stable || rests_as<Completed>(slot)) {
    close_breaker();
    return;
  }
  const bool in_question = current != nullptr || rests_as<BackingOff>(slot);
  if (state_.wants(number) && in_question) return;
  half_open->probe.reset();  // another one is to be tried
  release_waiting();
}

// Half open with nothing to try: everything is up by other means.
void Turn::check_breaker() {
  const auto* half_open = std::get_if<BreakerHalfOpen>(&state_.breaker);
  if (half_open != nullptr && !half_open->probe && state_.sums.waiting == 0) close_breaker();
}

}  // namespace mtd::model
