#include "tests/explore/world.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "daemon/supervisor/model/state.h"
#include "daemon/supervisor/model/vocabulary.h"

namespace mtd::test {

using namespace model;

namespace {
constexpr int kAbort = 6;
}  // namespace

void World::fail(const std::string& what) {
  if (wrong_.empty()) wrong_ = what;
}

void World::fail(const std::string& what, const WorkerKey& key) {
  fail(what + " (slot " + std::to_string(key.slot) + ", incarnation " +
       std::to_string(key.incarnation) + ")");
}

Body* World::body_of(const WorkerKey& key, const char* what) {
  const auto it = bodies_.find(key);
  if (it != bodies_.end()) return &it->second;
  fail(std::string(what) + " of a process that is not there", key);
  return nullptr;
}

namespace {
const Process* find(const Pool& pool, const WorkerKey& key) {
  for (const Process& process : pool.state().slots[key.slot].processes) {
    if (process.incarnation == key.incarnation) return &process;
  }
  return nullptr;
}
}  // namespace

void World::lose_requests() {
  for (auto at = bodies_.begin(); at != bodies_.end();)
    at = at->second.life == Life::asked ? bodies_.erase(at) : std::next(at);
}

void World::perform(const Pool& pool, const std::vector<Action>& actions, Instant now,
                    bool check_all) {
  paused_ = pool.state().rollout.paused && pool.state().queues.restart.empty() &&
            pool.state().sums.replacing[static_cast<std::size_t>(Replacing::restart)] == 0;
  now_ = now;
  for (const Action& action : actions) {
    std::visit([&](const auto& one) { apply(pool, one); }, action);
  }
  if (pool.next_deadline() <= now) fail("a deadline is left in the past");
  check_scaling(pool);
  if (check_all) {
    check(pool, now);
  } else {
    busy_ = surge_ = ~std::uint32_t{0};  // what was allowed a step ago is not known
  }
}

void World::apply(const Pool& pool, const SpawnAction& action) {
  if (pool.state().stopped) fail("spawned while stopped", action.key);
  if (pool.state().held_back) fail("spawned while held back", action.key);
  if (pool.state().frozen_since) fail("spawned while frozen", action.key);
  if (!pool.state().has_place(action.key.slot)) fail("spawned beyond want", action.key);
  if (std::holds_alternative<BreakerTripped>(pool.state().breaker) &&
      pool.state().slots[action.key.slot].crash_streak > 0) {
    fail("restarted a crashed slot although the breaker has tripped", action.key);
  }
  std::uint64_t& newest = newest_[action.key.slot];
  if (action.key.incarnation <= newest) fail("a key was used twice", action.key);
  newest = action.key.incarnation;
  bodies_[action.key] = Body{};
}

// Where old and new may run at once and no slot may be without, a process goes for a roll-out only
// when its replacement is ready.
void World::check_replaced(const Pool& pool, const WorkerKey& key) {
  const Pool::State& state = pool.state();
  if (!state.spec.overlap || state.spec.reload.max_unavailable != 0 ||
      state.spec.reload.max_surge == 0 || !state.wants(key.slot))
    return;
  for (const Process& process : state.slots[key.slot].processes) {
    if (process.incarnation == key.incarnation && ending_cause(process) != ExitCause::reload)
      return;
    const auto other = bodies_.find({key.slot, process.incarnation});
    if (process.incarnation != key.incarnation && other != bodies_.end() && other->second.ready &&
        !other->second.terminated) {
      return;
    }
  }
  fail("a roll-out ends a process that serves and has no successor yet", key);
}

void World::apply(const Pool& pool, const SignalAction& action) {
  Body* body = body_of(action.key, "signal");
  if (body == nullptr) return;
  const bool first = body->stop_signals == 0;
  if (first && !body->command_failed && action.signal != kAbort &&
      !pool.spec().stop.command.command.empty())
    fail("a signal where the stop command comes first", action.key);
  ask_to_end(pool, action.key, *body);
}

void World::apply(const Pool& pool, const StopCommandAction& action) {
  Body* body = body_of(action.key, "stop command");
  if (body == nullptr) return;
  if (body->stop_signals > 0 && !repeats_forgiven_) fail("a stop command too late", action.key);
  if (body->commanded && repeats_forgiven_) return;
  ask_to_end(pool, action.key, *body);
  body->commanded = true;
}

void World::ask_to_end(const Pool& pool, const WorkerKey& key, Body& body) {
  if (body.ready) check_replaced(pool, key);
  if (body.life != Life::running) fail("signal to a process that does not run", key);
  const std::size_t steps = std::max<std::size_t>(1, pool.spec().stop.steps.size());
  if (++body.stop_signals > steps) fail("more stop signals than steps", key);
  if (body.frozen) fail("stop signal to a frozen process", key);
  body.terminated = true;
  const Process* process = find(pool, key);
  const auto cause = process == nullptr ? std::nullopt : ending_cause(*process);
  const bool for_quiet = pool.state().scaling && cause == ExitCause::scale_down &&
                         !pool.state().want_override && want_ <= pool.state().most();
  // One whose stop command has failed was idle when that was run.
  if (!for_quiet || body.command_failed) return;
  if (process->activity == Activity::busy) fail("a busy worker was ended to shrink", key);
  if (process->started + pool.spec().scaling.quiet > now_)
    fail("a worker was ended before the quiet time was over", key);
}

void World::apply(const Pool& pool, const KillTreeAction& action) {
  Body* body = body_of(action.key, "kill");
  if (body == nullptr) return;
  check_steps(pool, action.key, *body);
  if (body->life == Life::asked) fail("kill before the process is there", action.key);
  // Once more when the main process is gone is allowed: a scan without cgroups may have missed a
  // fork.
  if (body->killed && !repeats_forgiven_ && (body->life != Life::dead || body->watched))
    fail("killed twice", action.key);
  body->killed = true;
}

// Who ran into the deadline of a stop has had every signal before KILL.
void World::check_steps(const Pool& pool, const WorkerKey& key, const Body& body) {
  if (body.life != Life::running || body.stop_signals == 0) return;
  for (const Process& process : pool.state().slots[key.slot].processes) {
    const auto* killing = std::get_if<Killing>(&process.state);
    if (process.incarnation != key.incarnation || killing == nullptr) continue;
    if (killing->cause == ExitCause::stop_timeout &&
        body.stop_signals < pool.spec().stop.steps.size())
      fail("killed before its stop had come to the last step", key);
  }
}

void World::apply(const Pool&, const WatchTreeAction& action) {
  Body* body = body_of(action.key, "watch");
  if (body == nullptr) return;
  if (body->life != Life::dead) fail("watch while the main process lives", action.key);
  body->watched = true;
}

void World::apply(const Pool&, const ForgetAction& action) {
  Body* body = body_of(action.key, "forget");
  if (body == nullptr) return;
  if (body->life != Life::dead) fail("a live process was forgotten", action.key);
  if (body->descendants) fail("a process was forgotten while its descendants live", action.key);
  if (body->exits_published != 1) fail("an end was not told exactly once", action.key);
  bodies_.erase(action.key);
}

void World::apply(const Pool&, const FreezeAction& action) {
  Body* body = body_of(action.key, "freeze");
  if (body == nullptr) return;
  if (body->life != Life::running) fail("freeze of a process that does not run", action.key);
  body->frozen = action.frozen;
}

void World::apply(const Pool&, const ProbeAction& action) {
  Body* body = body_of(action.key, "probe");
  if (body == nullptr) return;
  if (body->life != Life::running) fail("probe of a process that does not run", action.key);
  if (body->terminated) fail("probe of a process that is ended", action.key);
  bool& under_way = body->probed[static_cast<std::size_t>(action.role)];
  if (under_way && !repeats_forgiven_) fail("a probe was asked for twice", action.key);
  under_way = true;
}

// What serves in a slot, by what stands in it.
bool serves(const Slot& slot) {
  for (const Process& process : slot.processes) {
    const auto* draining = std::get_if<Draining>(&process.state);
    const bool stays = draining != nullptr && draining->cause != ExitCause::recycle_self;
    if (!process.frozen && (is<Up>(process) || stays)) return true;
  }
  return false;
}

bool comes_up(const Slot& slot) {
  return std::any_of(slot.processes.begin(), slot.processes.end(), [](const Process& process) {
    return is<Requested>(process) || is<Launching>(process) || is<Warming>(process);
  });
}

// Recycling has taken one away: the others are there, but for those recycled with it, those that
// do not come back by themselves, and those that a dynamic pool grows by in the same step.
void World::check_floor(const Pool& pool, const WorkerKey& key) {
  if (pool.spec().overlap || pool.spec().probes.ready.is_set()) return;
  const auto& slots = pool.state().slots;
  const auto ending = [&]() -> std::optional<ExitCause> {
    for (const Process& process : slots[key.slot].processes) {
      if (process.incarnation == key.incarnation) return ending_cause(process);
    }
    return std::nullopt;
  }();
  if (!ending || !is_recycling(*ending) || *ending == ExitCause::recycle_self) return;
  std::uint32_t missing = 0;
  for (std::uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (!pool.state().has_place(slot)) continue;
    const bool given_up = rests_as<Held>(slots[slot]) || rests_as<Failed>(slots[slot]) ||
                          rests_as<Completed>(slots[slot]);
    const bool replaced = slots[slot].replacing == Replacing::reload ||
                          slots[slot].replacing == Replacing::restart;  // their own turns
    if (replaced || (pool.state().scaling && comes_up(slots[slot]))) continue;
    if (!given_up && !serves(slots[slot])) ++missing;
  }
  const std::uint32_t allowed = pool.spec().recycle.concurrency;
  if (missing > (allowed != 0 ? allowed : std::max(1U, pool.state().want() / 10)))
    fail("recycled while others are missing", key);
}

void World::apply(const Pool& pool, const ClaimAction& action) {
  if (!pool.state().scaling) fail("a pool of a fixed number claims workers");
  if (action.needs <= pool.share().has && !repeats_forgiven_) fail("claimed what it has");
}

// A dynamic pool keeps its bounds and grows by grants only.
void World::check_scaling(const Pool& pool) {
  const Pool::State& state = pool.state();
  const std::uint32_t before = std::exchange(want_, state.want());
  if (!state.scaling || state.stopped || state.held_back || state.frozen_since || !state.awake)
    return;
  if (state.want() > state.most()) fail("more workers than the most");
  if (state.want() < state.least()) fail("fewer workers than the least");
  if (state.want() > std::max({before, state.least(), state.scaling->granted}))
    fail("a pool grew without a grant");
  if (!pool.share().waits() && state.want() < state.needed())
    fail("fewer workers than are needed and granted");
}

void World::apply(const Pool& pool, const PublishAction& action) {
  if (action.happening == Happening::ready && action.worker) {
    if (Body* body = body_of(*action.worker, "ready")) body->ready = true;
  }
  if (action.happening == Happening::unready && action.worker) {
    if (Body* body = body_of(*action.worker, "unready")) body->ready = false;
  }
  if (action.happening == Happening::restarting && paused_)
    fail("a paused roll-out replaces a process");
  if (action.happening == Happening::recycling && action.worker) {
    check_floor(pool, *action.worker);
    const Process* process = find(pool, *action.worker);
    if (process != nullptr && process->activity == Activity::busy &&
        ending_cause(*process) == ExitCause::recycle_idle)
      fail("a busy worker was recycled as idle", *action.worker);
  }
  const bool ended =
      action.happening == Happening::exited || action.happening == Happening::spawn_failed;
  if (!ended) return;
  if (!action.exit || !action.worker) {
    fail("an end without its record");
    return;
  }
  if (action.exit->planned) ++planned_exits_;
  Body* body = body_of(*action.worker, "published end");
  if (body != nullptr && ++body->exits_published > 1) fail("an end was told twice", *action.worker);
}

void World::check(const Pool& pool, Instant now) {
  std::size_t known = 0;
  std::uint32_t ready = 0;
  for (std::uint32_t slot = 0; slot < pool.state().slots.size(); ++slot) {
    check_slot(pool, slot);
    if (pool.state().has_place(slot) && serves(pool.state().slots[slot])) ++ready;
    known += pool.state().slots[slot].processes.size();
  }
  check_rollout(pool);
  if (ready != pool.summary(now).ready) fail("ready is miscounted");
  if (known != bodies_.size()) fail("model and world count different processes");
  if (pool.is_empty() != bodies_.empty()) fail("is_empty is wrong");
  if (pool.summary(now).state == PoolState::stopped && pool.state().stopped && !bodies_.empty()) {
    fail("stopped is said while something lives");
  }
}

void World::check_rollout(const Pool& pool) {
  const Pool::State& state = pool.state();
  const config::ReloadSpec& reload = state.spec.reload;
  const std::uint32_t surge = state.spec.overlap ? reload.max_surge : 0;
  const std::uint32_t busy = state.sums.replacing[static_cast<std::size_t>(Replacing::reload)];
  const std::uint32_t most = std::max(1U, surge + reload.max_unavailable);
  if (busy > std::max(busy_, most) && state.rollout.proven)
    fail("a roll-out works on more slots than it may");
  busy_ = busy;
  std::uint32_t beside = 0;
  for (const Slot& slot : state.slots) {
    for (const Process& process : slot.processes) {
      const auto* draining = std::get_if<Draining>(&process.state);
      if (draining != nullptr && draining->cause == ExitCause::reload) ++beside;
    }
  }
  if (beside > std::max(surge_, surge)) fail("a roll-out makes more processes than it may");
  surge_ = beside;
  if (state.failed && !state.rollout.active && !state.stopped && state.sums.outdated > 0 &&
      state.queues.reload.empty()) {
    fail("a failed roll-out is not taken back");
  }
}

void World::check_slot(const Pool& pool, std::uint32_t number) {
  const Slot& slot = pool.state().slots[number];
  std::size_t live = 0;
  for (const Process& process : slot.processes) {
    const WorkerKey key{number, process.incarnation};
    const auto it = bodies_.find(key);
    if (it == bodies_.end()) {
      fail("the model holds a process that the world has not", key);
      continue;
    }
    const Body& body = it->second;
    if (body.life != Life::dead) ++live;
    if ((body.life == Life::dead) != is<Emptying>(process)) {
      fail("model and world disagree whether the main process lives", key);
    }
    if (body.frozen != process.frozen && body.life == Life::running) {
      fail("model and world disagree whether it is frozen", key);
    }
    const bool watched = !pool.spec().watchdog.is_zero() && is_started(process);
    const bool refused = process.watch.alive_every.is_infinite();  // by the worker itself
    if (watched && !refused && process.watch.alive_until.is_never())
      fail("ready without a watchdog", key);
    const auto* stopping = std::get_if<Stopping>(&process.state);
    const bool waits =
        stopping != nullptr && !stopping->drain && !pool.spec().stop.timeout.is_infinite();
    if (waits && deadline_of(process).is_never()) fail("a stop without a deadline", key);
    const auto* emptying = std::get_if<Emptying>(&process.state);
    if (emptying != nullptr && emptying->phase == EmptyingPhase::waiting &&
        emptying->deadline.is_never()) {
      fail("left-overs without a deadline", key);
    }
    if (!pool.state().wants(number) && is_serving(process) && !is<Requested>(process)) {
      fail("an unwanted process is not being ended", key);
    }
  }
  if (live > 2) fail("more than two processes in a slot", {number, slot.incarnation});
  if (live > 1 && !pool.spec().overlap)
    fail("two processes in a slot without overlap", {number, 0});
}

}  // namespace mtd::test
