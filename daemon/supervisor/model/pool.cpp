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

PoolMemory Pool::memory_without_slots() const {
  PoolMemory memory;
  memory.want = state_->want_override;
  memory.stopped = state_->stopped;
  memory.frozen = state_->frozen_since.has_value();
  memory.restarts = state_->restarts;
  memory.recycled = state_->recycled;
  memory.spawn_failures = state_->spawn_failures;
  return memory;
}

PoolMemory::SlotMemory Pool::slot_memory(std::uint32_t slot) const {
  if (slot >= state_->slots.size()) return {};
  const Slot& known = state_->slots[slot];
  return {known.incarnation, known.restarts, known.recycled, rests_as<Held>(known)};
}

PoolMemory Pool::memory() const {
  PoolMemory memory = memory_without_slots();
  for (std::uint32_t slot = 0; slot < state_->slots.size(); ++slot) {
    const PoolMemory::SlotMemory one = slot_memory(slot);
    if (one.incarnation != 0 || one.held) memory.slots[slot] = one;
  }
  return memory;
}

}  // namespace mtd::model
