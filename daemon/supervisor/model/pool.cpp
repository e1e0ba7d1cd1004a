// The pool as others see it: construction, the step, and questions that cost nothing.
#include "daemon/supervisor/model/pool.h"

#include <algorithm>
#include <utility>

#include "daemon/supervisor/model/memory.h"
#include "daemon/supervisor/model/state.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

Pool::Pool(config::PoolSpec spec, std::uint64_t revision, Instant now)
    : Pool(std::move(spec), revision, now, PoolMemory{}) {}

Pool::Pool(config::PoolSpec spec, std::uint64_t revision, Instant now, const PoolMemory& memory)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.spec = std::move(spec);
  state.revision = revision;
  state.remembered_fingerprint = memory.fingerprint;
  state.want_override = memory.want;
  const bool is_new = memory.fingerprint == 0;
  state.stopped = memory.stopped || (is_new && !memory.enabled.value_or(state.spec.enabled));
  state.held_back = memory.held_back || (is_new && !state.spec.depends_on.empty());
  state.stop_due = memory.stop_due;
  state.was_full = memory.was_full;
  state.frozen_since = memory.frozen_since;
  state.breaker = memory.breaker;
  state.crashes = memory.crashes;
  state.rollout = memory.rollout;
  state.previous = memory.previous;
  state.failed = memory.failed;
  state.scaling = memory.scaling;
  state.restarts = memory.restarts;
  state.recycled = memory.recycled;
  state.spawn_failures = memory.spawn_failures;
  state.stale_facts = memory.stale_facts;
  state.shown = memory.shown;
  state.shown_since = memory.shown_since.value_or(now);
  for (const auto& [number, remembered] : memory.slots) {
    while (state.slots.size() <= number)
      state.slots.emplace_back();
    Slot& slot = state.slots[number];
    slot = remembered.slot;
    slot.tally = {};
    slot.dirty = slot.touched = false;
    for (Process& process : slot.processes)
      process.expected = true;
    if (slot.replacing != Replacing::no) {
      ++state.sums.replacing[static_cast<std::size_t>(slot.replacing)];
    }
    if (rests_as<Parked>(slot)) state.parked.insert(number);
    if (remembered.recycle) state.queues.recycle.insert(number);
    if (remembered.reload) state.queues.reload.insert(number);
    if (remembered.restart) state.queues.restart.insert(number);
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
  const Instant surplus = state_->scaling ? state_->scaling->until : Instant::never();
  return std::min({breaker, surplus, state_->deadlines.earliest()});
}

const config::PoolSpec& Pool::spec() const {
  return state_->spec;
}
int Pool::stop_signal_of(const WorkerKey& key) const {
  if (!knows(key)) return 0;
  const auto* stopping =
      std::get_if<Stopping>(&state_->slots[key.slot].find(key.incarnation)->state);
  return stopping == nullptr ? 0 : step_of(state_->spec.stop, stopping->step).signal.value;
}
bool Pool::is_stopped() const {
  return state_->stopped;
}
bool Pool::is_ordered() const {
  return state_->held_back || state_->stop_due.has_value();
}
StopManner Pool::stop_due() const {
  return state_->stop_due.value_or(StopManner::gently);
}
std::uint64_t Pool::revision() const {
  return state_->revision;
}
const std::optional<Revision>& Pool::previous() const {
  return state_->previous;
}
Revision Pool::fallback_of_change() const {
  return state_->fallback_of_change();
}
const config::PoolSpec* Pool::failed_spec() const {
  return state_->failed ? state_->failed->revision.spec.get() : nullptr;
}
bool Pool::is_empty() const {
  return state_->sums.alive == 0;
}
bool Pool::is_settled() const {
  return state_->awake && state_->sums.unsettled == 0;
}

PoolMemory Pool::memory_without_slots() const {
  PoolMemory memory;
  memory.fingerprint =
      state_->awake ? state_->spec.spawn_fingerprint : state_->remembered_fingerprint;
  memory.want = state_->want_override;
  memory.stopped = state_->stopped;
  memory.held_back = state_->held_back;
  memory.stop_due = state_->stop_due;
  memory.was_full = state_->was_full;
  memory.frozen_since = state_->frozen_since;
  memory.breaker = state_->breaker;
  memory.rollout = state_->rollout;
  memory.previous = state_->previous;
  memory.failed = state_->failed;
  memory.scaling = state_->scaling;
  memory.restarts = state_->restarts;
  memory.recycled = state_->recycled;
  memory.spawn_failures = state_->spawn_failures;
  memory.stale_facts = state_->stale_facts;
  memory.shown = state_->shown;
  memory.shown_since = state_->shown_since;
  return memory;
}

const CrashWindow& Pool::crashes() const {
  return state_->crashes;
}

SlotMemory Pool::slot_memory(std::uint32_t slot) const {
  SlotMemory memory;
  if (slot >= state_->slots.size()) return memory;
  memory.slot = state_->slots[slot];
  memory.slot.tally = {};
  memory.slot.dirty = memory.slot.touched = false;
  memory.recycle = state_->queues.recycle.count(slot) != 0;
  memory.reload = state_->queues.reload.count(slot) != 0;
  memory.restart = state_->queues.restart.count(slot) != 0;
  return memory;
}

PoolMemory Pool::memory() const {
  PoolMemory memory = memory_without_slots();
  memory.crashes = state_->crashes;
  for (std::uint32_t slot = 0; slot < state_->slots.size(); ++slot) {
    SlotMemory one = slot_memory(slot);
    if (!(one == SlotMemory{})) memory.slots.emplace(slot, std::move(one));
  }
  return memory;
}

bool Pool::knows(const WorkerKey& key) const {
  return key.slot < state_->slots.size() &&
         state_->slots[key.slot].find(key.incarnation) != nullptr;
}

Stage Pool::stage_of(const WorkerKey& key) const {
  if (!knows(key)) return Stage::requested;
  const Process& process = *state_->slots[key.slot].find(key.incarnation);
  if (is<Requested>(process)) return Stage::requested;
  if (is<Emptying>(process)) return Stage::ended;
  return is<Launching>(process) ? Stage::launching : Stage::running;
}

std::vector<std::uint32_t> Pool::take_touched() {
  for (const std::uint32_t slot : state_->touched)
    state_->slots[slot].touched = false;
  return std::exchange(state_->touched, {});
}

}  // namespace mtd::model
