// Dynamic pools: as many workers as are busy, and some spare ones. The pool grows at once when
// spare ones run short, as far as it is granted more, and shrinks by idle workers only, after they
// were not needed for the whole of the quiet time. Which slots have a worker is decided here alone;
// the others rest as parked.
#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

std::uint32_t Pool::State::least() const {
  return want_override.value_or(spec.scaling.min);
}

std::uint32_t Pool::State::most() const {
  return want_override.value_or(spec.scaling.max);
}

// A slot that a person stopped has its place and does nothing: it is made up for.
std::uint32_t Pool::State::needed() const {
  if (want_override) return *want_override;
  const config::ScalingSpec& bounds = spec.scaling;
  const bool at_rest = sums.busy == 0 && bounds.min == 0;
  const std::uint64_t wished = std::uint64_t{sums.busy} + bounds.spare;
  const std::uint64_t of_work = at_rest ? (scaling && scaling->demanded ? 1 : 0)
                                        : std::clamp<std::uint64_t>(wished, bounds.min, bounds.max);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(bounds.max, of_work + sums.held));
}

// The kind of a pool may have changed with its configuration.
void Turn::adapt_slots() {
  if (!state_.is_dynamic()) {
    for (const std::uint32_t slot : std::exchange(state_.parked, {}))
      state_.slots[slot].rest = Idle{};
    state_.scaling.reset();
    grow(state_.want());
    return;
  }
  if (state_.scaling) return;
  state_.scaling.emplace();
  for (std::uint32_t number = 0; number < state_.slots.size(); ++number) {
    const Slot& slot = state_.slots[number];
    if (slot.current() == nullptr && rests_as<Idle>(slot)) park(number);
  }
}

// A start after a stop begins with as many as are needed then.
void Turn::begin_anew() {
  if (!state_.scaling) return;
  state_.scaling = Scaling{};
  for (std::uint32_t number = 0; number < state_.slots.size(); ++number)
    park(number);
}

void Turn::park(std::uint32_t number) {
  Slot& slot = state_.slots[number];
  if (rests_as<BackingOff>(slot) && slot.processes.empty())
    publish_rest(Happening::stopped, number);
  slot.rest = Parked{};
  state_.parked.insert(number);
  mark(number);
}

void Turn::unpark(std::uint32_t number) {
  state_.slots[number].rest = Idle{};
  state_.parked.erase(number);
  mark(number);
}

// First of all, so that nothing is started that would have to go at once.
void Turn::keep_within_bounds() {
  const bool rests = !state_.scaling || state_.stopped || state_.held_back || state_.frozen_since;
  if (!rests && state_.want() > state_.most()) shrink_to(state_.most(), true);
}

void Turn::rescale() {
  if (!state_.scaling) return;
  Scaling& scaling = *state_.scaling;
  if (state_.stopped || state_.held_back || state_.frozen_since) {
    scaling.until = Instant::never();
    return;
  }
  const std::uint32_t need = state_.needed();
  const std::uint32_t have = kSeededFault == SeededFault::growth_without_grant
                                 ? state_.most()
                                 : std::max({state_.least(), scaling.granted, state_.want()});
  if (need > have && need != scaling.claimed) {
    scaling.claimed = need;
    act(ClaimAction{need});
  } else if (need <= have) {
    scaling.claimed = 0;
    scaling.restraint = Restraint::none;
  }
  if (std::min(need, have) > state_.want()) grow_to(std::min(need, have));
  look_for_surplus(need);
}

// The lowest slots in which nothing is still ending come first.
void Turn::grow_to(std::uint32_t want) {
  state_.was_full = false;
  for (const bool empty_only : {true, false}) {
    for (auto at = state_.parked.begin(); at != state_.parked.end() && state_.want() < want;) {
      const std::uint32_t slot = *at++;
      if (!empty_only || state_.slots[slot].processes.empty()) unpark(slot);
    }
    if (!empty_only) break;
    while (state_.want() < want && state_.slots.size() < state_.most()) {
      const auto fresh = static_cast<std::uint32_t>(state_.slots.size());
      grow(fresh + 1);
      unpark(fresh);
    }
  }
  if (!state_.want_override && want > state_.least()) publish(Happening::grown, want);
}

void Turn::look_for_surplus(std::uint32_t need) {
  Scaling& scaling = *state_.scaling;
  const Duration quiet = state_.spec.scaling.quiet;
  if (state_.want() <= need || state_.sums.telling == 0) {  // nobody is known to be idle
    scaling.until = Instant::never();
    scaling.peak = 0;
    return;
  }
  if (scaling.until.is_never()) {
    scaling.until = kSeededFault == SeededFault::quiet_time_ignored ? now_ : now_ + quiet;
    scaling.peak = need;
  }
  scaling.peak = std::max(scaling.peak, need);
  if (scaling.until > now_) return;
  shrink_to(scaling.peak, false);
  const bool more = state_.want() > need;
  scaling.until = more ? now_ + quiet : Instant::never();
  scaling.peak = more ? need : 0;
}

// How gladly a slot is given up, 0 first; negative: not at all. Forced: the bound has come down or
// a person has said so; then even busy ones go, last, and finish what they do.
int Turn::dispensable(std::uint32_t number, bool forced) const {
  const Slot& slot = state_.slots[number];
  if (rests_as<Parked>(slot)) return -1;
  const Process* current = slot.current();
  if (current == nullptr) {
    const bool serves = std::any_of(slot.processes.begin(), slot.processes.end(), is_serving);
    const bool decided = rests_as<Held>(slot) || rests_as<Failed>(slot);
    return forced || !(serves || decided) ? 0 : -1;
  }
  const auto* up = std::get_if<Up>(&current->state);
  if (up == nullptr) return forced ? 1 : -1;
  if (kSeededFault == SeededFault::busy_worker_ended) return 2;
  if (current->activity == Activity::busy) return forced ? 4 : -1;
  const bool rested = up->since + state_.spec.scaling.quiet <= now_ ||
                      kSeededFault == SeededFault::quiet_time_ignored;
  if (rested && slot.replacing == Replacing::no) return 2;
  return forced ? 3 : -1;
}

void Turn::shrink_to(std::uint32_t want, bool forced) {
  std::vector<std::pair<int, std::uint32_t>> candidates;
  for (std::size_t number = state_.slots.size(); number-- > 0;) {
    const auto slot = static_cast<std::uint32_t>(number);
    const int rank = dispensable(slot, forced);
    if (rank >= 0) candidates.emplace_back(rank, slot);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::uint32_t before = state_.want();
  for (const auto& [rank, slot] : candidates) {
    if (state_.want() <= want) break;
    park(slot);
  }
  if (state_.want() == before) return;
  tell_shrunk();
}

void Turn::tell_shrunk() {
  state_.scaling->granted = std::min(state_.scaling->granted, state_.want());
  if (!state_.want_override) publish(Happening::shrunk, state_.want());
}

void Turn::apply(const BusyChanged& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  const Activity told = fact.busy ? Activity::busy : Activity::idle;
  if (process->activity == told) return;
  process->activity = told;
  if (is_started(*process)) restart_idleness(*process);
  mark(fact.key.slot);
}

void Turn::apply(const Demand&) {
  if (!state_.scaling || state_.want() > 0 || state_.spec.scaling.min > 0 || state_.want_override)
    return;
  if (std::exchange(state_.scaling->demanded, true)) return;
  publish(Happening::demanded);
}

void Turn::apply(const GrantCommand& command) {
  if (!state_.scaling) return;
  Scaling& scaling = *state_.scaling;
  scaling.granted = command.most;
  const bool short_of =
      scaling.claimed > std::max({state_.least(), scaling.granted, state_.want()});
  const Restraint restraint = short_of ? command.restraint : Restraint::none;
  if (std::exchange(scaling.restraint, restraint) == restraint) return;
  if (restraint != Restraint::none) publish(Happening::held_back, scaling.claimed);
}

bool Pool::waits_for_demand() const {
  const State& state = *state_;
  return state.awake && state.scaling && !state.stopped && !state.held_back &&
         !state.frozen_since && state.spec.scaling.min == 0 && !state.want_override &&
         (!state.spec.listen.empty() || state.spec.tasks.has_queue()) && state.want() == 0 &&
         !state.scaling->demanded;
}

Pool::Share Pool::share() const {
  const State& state = *state_;
  if (!state.scaling) return {state.want(), state.want(), state.want()};
  if (state.stopped || state.held_back) return {state.least(), state.least(), state.least()};
  const std::uint32_t has = std::max({state.least(), state.scaling->granted, state.want()});
  return {state.least(), has, std::max(has, state.scaling->claimed)};
}

bool Pool::has_slot(std::uint32_t slot) const {
  return slot < state_->slots.size() &&
         (state_->has_place(slot) || !state_->slots[slot].processes.empty());
}

}  // namespace mtd::model
