// The pool as others see it: construction, the step, and questions that cost nothing.
#include "daemon/supervisor/model/pool.h"

#include <algorithm>

#include "daemon/supervisor/model/state.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

Pool::Pool(config::PoolSpec spec, std::uint64_t revision, Instant now, const PoolMemory& memory)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.spec = std::move(spec);
  state.revision = revision;
  state.want_override = memory.want;
  state.stopped = memory.stopped || !state.spec.enabled;
  if (memory.frozen) state.frozen_since = now;
  state.restarts = memory.restarts;
  state.recycled = memory.recycled;
  state.spawn_failures = memory.spawn_failures;
  state.shown_since = now;
  for (const auto& [number, remembered] : memory.slots) {
    while (state.slots.size() <= number)
      state.slots.emplace_back();
    Slot& slot = state.slots[number];
    slot.incarnation = remembered.incarnation;
    slot.restarts = remembered.restarts;
    slot.recycled = remembered.recycled;
    if (remembered.held) slot.rest = Held{};
  }
}

Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::Pool(const Pool& other) : state_(std::make_unique<State>(*other.state_)) {}
Pool& Pool::operator=(const Pool& other) {
  if (this != &other) state_ = std::make_unique<State>(*other.state_);
  return *this;
}
Pool::~Pool() = default;

std::vector<Action> Pool::step(const Event& event, Instant now, std::uint64_t entropy) {
  return Turn(*state_, now, entropy).run(event);
}

Instant Pool::next_deadline() const {
  const auto* open = std::get_if<BreakerOpen>(&state_->breaker);
  const Instant breaker = open != nullptr ? open->retry_at : Instant::never();
  return std::min(breaker, state_->deadlines.earliest());
}

const config::PoolSpec& Pool::spec() const {
  return state_->spec;
}
bool Pool::is_empty() const {
  return state_->sums.alive == 0;
}
bool Pool::is_settled() const {
  return state_->awake && state_->sums.unsettled == 0;
}

PoolMemory Pool::memory() const {
  const State& state = *state_;
  PoolMemory memory;
  memory.want = state.want_override;
  memory.stopped = state.stopped;
  memory.frozen = state.frozen_since.has_value();
  memory.restarts = state.restarts;
  memory.recycled = state.recycled;
  memory.spawn_failures = state.spawn_failures;
  for (std::uint32_t number = 0; number < state.slots.size(); ++number) {
    const Slot& slot = state.slots[number];
    const bool held = rests_as<Held>(slot);
    if (slot.incarnation == 0 && !held) continue;
    memory.slots[number] = {slot.incarnation, slot.restarts, slot.recycled, held};
  }
  return memory;
}

}  // namespace mtd::model
