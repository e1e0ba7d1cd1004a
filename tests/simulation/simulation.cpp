#include "tests/simulation/simulation.h"

#include <algorithm>
#include <iterator>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "common/entropy.h"
#include "daemon/supervisor/model/state.h"
#include "tests/explore/restart.h"
#include "tests/explore/world.h"

namespace mtd::test {
namespace {

using namespace model;

constexpr int kKilled = 9;

class Simulation {
 public:
  explicit Simulation(const SimulationPlan& plan)
      : plan_(plan),
        dice_(plan.seed),
        dice_of_twin_(~plan.seed),
        pool_(spec(), 1, now_),
        twin_(pool_),
        memory_(twin_.memory()) {}

  SimulationResult run() {
    step(Tick{});
    while (result_.events < plan_.events && result_.wrong.empty())
      one_turn();
    if (result_.wrong.empty()) stop_all();
    return result_;
  }

 private:
  struct Pending {
    Instant at;
    std::uint64_t order = 0;  // of equal times, first come first served
    Event event;
    bool operator<(const Pending& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  config::PoolSpec spec() {
    config::PoolSpec made;
    made.name = "simulated";
    made.workers = plan_.workers;
    made.spawn_fingerprint = 1;
    made.overlap = chance(50);
    made.ready = chance(50) ? config::ReadyMode::exec : config::ReadyMode::notify;
    made.orphans = chance(80) ? config::OrphanPolicy::kill : config::OrphanPolicy::keep;
    made.backoff.initial = Duration::milliseconds(static_cast<std::int64_t>(below(1000)));
    made.recycle.max_tasks = chance(50) ? 20 : 0;
    made.recycle.max_rss = chance(30) ? 1000 : 0;
    if (chance(30)) made.recycle.max_lifetime = Duration::seconds(20);
    if (chance(30)) made.recycle.idle_timeout = Duration::seconds(10);
    if (chance(30)) made.watchdog = Duration::seconds(3);
    if (chance(30)) {
      made.probes.live.tcp = made.probes.ready.tcp = "127.0.0.1:1";
      made.probes.live.period = made.probes.ready.period = Duration::seconds(2);
      if (chance(50)) made.ready = config::ReadyMode::probe;
    }
    made.crash_limit.count = chance(50) ? 0 : 50;
    made.crash_limit.retry_after = Duration::seconds(20);
    Entropy own(~plan_.seed);  // so that pools of a fixed number are drawn as ever
    if (own.next() % 100 < 40) {
      const auto up_to = [&](std::uint32_t most) {
        return static_cast<std::uint32_t>(own.next() % (most + std::uint64_t{1}));
      };
      const std::uint32_t max = 1 + up_to(plan_.workers - 1);
      made.scaling = {up_to(max), max, up_to(3), Duration::milliseconds(1'000 + up_to(5'000))};
      made.workers = made.scaling.min;
      made.listen.resize(made.scaling.min == 0 ? 1 : 0);
    }
    if (own.next() % 100 < 30) made.stop.command.command = {"/bin/ask"};
    made.stop.timeout = Duration::seconds(1 + static_cast<std::int64_t>(below(5)));
    made.start_timeout = Duration::seconds(5);
    return made;
  }

  std::uint64_t below(std::uint64_t bound) { return dice_.next() % bound; }
  bool chance(std::uint64_t percent) { return below(100) < percent; }
  Duration within(std::int64_t most_ms) {
    return Duration::milliseconds(
        static_cast<std::int64_t>(below(static_cast<std::uint64_t>(most_ms) + 1)));
  }

  void later(Duration delay, Event event) {
    pending_.push({now_ + delay, ++order_, std::move(event)});
  }

  // Whichever comes first: a fact under way or the model's deadline; now and then something from
  // outside.
  void one_turn() {
    if (chance(1)) disturb();
    if (pool_.waits_for_demand() && chance(20)) step(Demand{});
    const Instant deadline = pool_.next_deadline();
    if (!pending_.empty() && pending_.top().at <= deadline) {
      const Pending next = pending_.top();
      pending_.pop();
      now_ = std::max(now_, next.at);
      deliver(next.event);
      return;
    }
    if (!deadline.is_never()) {
      now_ = std::max(now_, deadline);
      step(Tick{});
      return;
    }
    now_ = now_ + Duration::milliseconds(1 + static_cast<std::int64_t>(below(500)));
    disturb();
  }

  void deliver(const Event& event) {
    if (const auto* exit = std::get_if<Exited>(&event)) {
      const auto it = world_.bodies().find(exit->key);
      if (it == world_.bodies().end() || it->second.life == Life::dead) return;
      const bool ran = it->second.life == Life::running;
      it->second.life = Life::dead;
      it->second.frozen = false;
      it->second.descendants = ran && !it->second.killed && chance(5);
    } else if (const auto* spawned = std::get_if<Spawned>(&event)) {
      world_.bodies().at(spawned->key).life = Life::launching;
    } else if (const auto* refused = std::get_if<SpawnRefused>(&event)) {
      world_.bodies().at(refused->key).life = Life::dead;
    } else if (const auto* executed = std::get_if<Executed>(&event)) {
      const auto it = world_.bodies().find(executed->key);
      if (it == world_.bodies().end() || it->second.life != Life::launching) return;
      it->second.life = Life::running;
    } else if (const auto* empty = std::get_if<TreeEmpty>(&event)) {
      const auto it = world_.bodies().find(empty->key);
      if (it == world_.bodies().end() || it->second.life != Life::dead) return;
      it->second.descendants = false;
    } else if (const auto* extension = std::get_if<NotifiedExtension>(&event)) {
      const auto it = world_.bodies().find(extension->key);
      if (it == world_.bodies().end() || it->second.life != Life::running) return;
    } else if (const auto* alive = std::get_if<NotifiedAlive>(&event)) {
      const auto it = world_.bodies().find(alive->key);
      if (it == world_.bodies().end() || it->second.life == Life::dead) return;
      if (!chance(2))
        later(Duration::seconds(1) + within(1000), NotifiedAlive{alive->key, chance(1)});
    } else if (const auto* answer = std::get_if<Probed>(&event)) {
      const auto it = world_.bodies().find(answer->key);
      if (it == world_.bodies().end() || it->second.life != Life::running) return;
      it->second.probed[static_cast<std::size_t>(answer->role)] = false;
    } else if (const auto* failed = std::get_if<StopCommandFailed>(&event)) {
      const auto it = world_.bodies().find(failed->key);
      if (it == world_.bodies().end() || it->second.life != Life::running) return;
      it->second.commanded = false;
      it->second.command_failed = true;
      if (it->second.stop_signals == 1) {
        it->second.stop_signals = 0;
        it->second.terminated = false;
      }
    }
    step(event);
  }

  void step(const Event& event) {
    ++result_.events;
    const std::uint64_t entropy = dice_.next();
    const std::vector<Action> actions = pool_.step(event, now_, entropy);
    if (plan_.check_everything) {
      world_.perform(pool_, actions, now_, result_.events % 64 == 0);
      result_.wrong = world_.wrong();
    } else {
      world_.perform(pool_, actions, now_, false);
    }
    if (plan_.with_twin && result_.wrong.empty()) check_twin(event, entropy, actions);
    for (const Action& action : actions) {
      std::visit([this](const auto& one) { answer(one); }, action);
    }
    if (plan_.with_twin) replace_twin();
  }

  // ---- The twin
  void check_twin(const Event& event, std::uint64_t entropy, const std::vector<Action>& actions) {
    const std::vector<Action> twins = twin_.step(event, now_, entropy);
    for (const std::uint32_t slot : twin_.take_touched())
      memory_.slots[slot] = twin_.slot_memory(slot);
    auto slots = std::move(memory_.slots);
    memory_ = twin_.memory_without_slots();
    memory_.crashes = twin_.crashes();
    memory_.slots = std::move(slots);
    const bool same = std::equal(actions.begin(), actions.end(), twins.begin(), twins.end(),
                                 [](const Action& a, const Action& b) { return say(a) == say(b); });
    if (!same) result_.wrong = "the twin that was restarted does something else";
    twin_dies_ = dice_of_twin_.next() % 100 < 3;
  }
  // Between two steps of the pool, when the world has taken in what the last one did.
  void replace_twin() {
    if (!std::exchange(twin_dies_, false) || !result_.wrong.empty()) return;
    PoolMemory whole = twin_.memory();
    for (auto at = memory_.slots.begin(); at != memory_.slots.end();)
      at = at->second == SlotMemory{} ? memory_.slots.erase(at) : std::next(at);
    if (!(whole == memory_)) {
      result_.wrong = "a slot was changed and not named as touched";
      return;
    }
    twin_ = restart(twin_, memory_, world_, now_, 1).pool;
    for (const std::uint32_t slot : twin_.take_touched())
      memory_.slots[slot] = twin_.slot_memory(slot);
    ++result_.restarts;
    if (!(twin_.memory() == whole)) result_.wrong = "a restart changes the memory";
  }
  static std::string say(const Action& action) {
    const auto key = [](const WorkerKey& of) {
      return std::to_string(of.slot) + "." + std::to_string(of.incarnation);
    };
    struct Words {
      decltype(key)& of;
      std::string operator()(const SpawnAction& a) const {
        return of(a.key) + "r" + std::to_string(a.revision) + "t" + std::to_string(a.task_limit);
      }
      std::string operator()(const SignalAction& a) const { return of(a.key); }
      std::string operator()(const StopCommandAction& a) const { return of(a.key); }
      std::string operator()(const KillTreeAction& a) const { return of(a.key); }
      std::string operator()(const WatchTreeAction& a) const { return of(a.key); }
      std::string operator()(const ForgetAction& a) const { return of(a.key); }
      std::string operator()(const FreezeAction& a) const { return of(a.key); }
      std::string operator()(const ProbeAction& a) const {
        return of(a.key) + (a.role == ProbeRole::live ? "live" : "ready");
      }
      std::string operator()(const ClaimAction& a) const { return std::to_string(a.needs); }
      std::string operator()(const PublishAction& a) const {
        return (a.worker ? of(*a.worker) : std::string()) + "h" +
               std::to_string(static_cast<int>(a.happening)) +
               (a.exit ? "c" + std::to_string(static_cast<int>(a.exit->cause)) : std::string()) +
               "n" + std::to_string(a.number) + "d" +
               std::to_string(a.next_attempt.value_or(Duration()).count_ns());
      }
    };
    return std::to_string(action.index()) + " " + std::visit(Words{key}, action);
  }

  // ---- What the world makes of an action
  void answer(const SpawnAction& action) {
    if (chance(1)) {
      later(within(2), SpawnRefused{action.key, 2, 11});
      return;
    }
    later(within(2), Spawned{action.key, 100});
    if (chance(1)) {
      Exited exit;
      exit.key = action.key;
      exit.kind = ReportKind::setup_failed;
      exit.stage = 16;
      exit.error = 2;
      later(Duration::milliseconds(3), exit);
      return;
    }
    later(Duration::milliseconds(4), Executed{action.key});
    if (pool_.spec().ready == config::ReadyMode::notify && !chance(1)) {
      later(Duration::milliseconds(5) + within(100), NotifiedReady{action.key});
    }
    if (chance(70))
      later(Duration::milliseconds(5) + within(60'000), dead(action.key, chance(30) ? 0 : kKilled));
    if (!pool_.spec().watchdog.is_zero()) later(within(1000), NotifiedAlive{action.key});
    if (pool_.spec().recycle.max_rss != 0)
      later(Duration::seconds(1), MemoryUsed{action.key, below(1200)});
    if (chance(5)) later(within(5000), NotifiedExtension{action.key, within(3000)});
    if (pool_.spec().recycle.max_tasks != 0)
      later(Duration::seconds(1), TasksDone{action.key, 1 + below(30)});
  }
  void answer(const SignalAction& action) {
    if (!chance(5)) later(within(1500), dead(action.key, 0));
  }
  void answer(const StopCommandAction& action) {
    if (chance(20)) return later(within(500), StopCommandFailed{action.key});
    if (!chance(5)) later(within(1500), dead(action.key, 0));
  }
  void answer(const KillTreeAction& action) {
    const auto it = world_.bodies().find(action.key);
    if (it == world_.bodies().end()) return;
    if (it->second.life == Life::dead) {
      later(within(2), TreeEmpty{action.key});
    } else {
      Exited exit = dead(action.key, kKilled);
      if (it->second.life == Life::launching) exit.kind = ReportKind::unknown;
      later(chance(1) ? Duration::seconds(20) : within(2), exit);  // now and then uninterruptible
    }
  }
  void answer(const WatchTreeAction& action) {
    const auto it = world_.bodies().find(action.key);
    if (it == world_.bodies().end()) return;
    if (!it->second.descendants || chance(50)) later(within(2), TreeEmpty{action.key});
  }
  void answer(const ForgetAction&) {}
  void answer(const FreezeAction&) {}
  void answer(const ProbeAction& action) {
    const ProbeOutcome outcome = chance(5)    ? ProbeOutcome::unknown
                                 : chance(20) ? ProbeOutcome::failed
                                              : ProbeOutcome::passed;
    later(within(1000), Probed{action.key, action.role, outcome});
  }
  void answer(const ClaimAction& action) {
    const std::uint32_t given = chance(70) ? action.needs : static_cast<std::uint32_t>(below(3));
    later(chance(80) ? Duration() : within(3'000), GrantCommand{given, Restraint::memory});
    if (given < action.needs) later(within(9'000), GrantCommand{action.needs, Restraint::none});
  }
  void answer(const PublishAction& action) {
    if (action.happening != Happening::ready || !pool_.spec().scaling.max) return;
    for (int i = 0; i < 3; ++i)
      later(within(8'000), BusyChanged{*action.worker, chance(60)});
  }

  static Exited dead(const WorkerKey& key, int status) {
    Exited exit;
    exit.key = key;
    exit.wait_status = status;
    return exit;
  }

  // ---- What people and bad luck do
  void disturb() {
    const WorkerKey any{static_cast<std::uint32_t>(below(plan_.workers)), below(5)};
    switch (below(19)) {
      case 0:
        return step(StopCommand{{}, chance(30) ? StopManner::now : StopManner::gently});
      case 1:
        return step(ScaleCommand{static_cast<std::uint32_t>(below(plan_.workers * 2))});
      case 2:
        return step(ScaleCommand{});
      case 3:
        return step(RestartCommand{{any.slot}});
      case 4:
        return step(StopCommand{{any.slot}});
      case 5:
        return reload();
      case 6:
        return step(FreezeCommand{true});
      case 7:
        return step(FreezeCommand{false});
      case 8:
        return step(ResetFailedCommand{});
      case 9:
        return step(NotifiedReady{{any.slot, 1'000'000}});
      case 10:
        return step(TreeEmpty{{any.slot, 1'000'000}});
      case 11:
        return storm();
      case 12:
        return step(RolloutCommand{chance(50) ? RolloutOrder::pause : RolloutOrder::resume});
      case 13:
        return undo();
      case 14:
        return step(StopCommand{{any.slot}, StopManner::drain});
      case 15:
        return step(HoldBackCommand{chance(50)});
      case 16:
        return step(StopCommand{{}, StopManner::gently, true});
      default:
        return step(StartCommand{});
    }
  }
  void reload() {
    ReconfigureCommand command{pool_.spec(), ++revision_};
    command.spec.spawn_fingerprint = 1 + below(3);
    command.spec.reload.max_surge = static_cast<std::uint32_t>(below(4));
    command.spec.reload.max_unavailable = static_cast<std::uint32_t>(below(3));
    // Both 0 is an error of the configuration.
    if (command.spec.reload.max_surge == 0 && command.spec.reload.max_unavailable == 0)
      command.spec.reload.max_unavailable = 1;
    step(command);
  }
  void undo() {
    if (!pool_.previous()) return;
    const Revision previous = *pool_.previous();
    step(ReconfigureCommand{*previous.spec, previous.number});
  }
  void storm() {
    for (const auto& [key, body] : world_.bodies()) {
      if (body.life == Life::running && chance(30)) later(Duration(), dead(key, kKilled));
    }
  }

  void stop_all() {
    step(StopCommand{});
    for (std::uint64_t turn = 0; turn < 40 * std::uint64_t{plan_.workers} + 10'000; ++turn) {
      if (!result_.wrong.empty() || pool_.is_empty()) return;
      const Instant deadline = pool_.next_deadline();
      if (!pending_.empty() && pending_.top().at <= deadline) {
        const Pending next = pending_.top();
        pending_.pop();
        now_ = std::max(now_, next.at);
        deliver(next.event);
      } else if (!deadline.is_never()) {
        now_ = std::max(now_, deadline);
        step(Tick{});
      } else {
        break;
      }
    }
    if (!pool_.is_empty()) result_.wrong = "a stop does not come to its end";
  }

  SimulationPlan plan_;
  Entropy dice_, dice_of_twin_;
  Instant now_ = Instant::at_ns(1'000'000'000);
  Pool pool_, twin_;
  PoolMemory memory_;  // of the twin, put together slot by slot
  bool twin_dies_ = false;
  World world_;
  std::priority_queue<Pending> pending_;
  std::uint64_t order_ = 0;
  std::uint64_t revision_ = 1;
  SimulationResult result_;
};

}  // namespace

SimulationResult simulate(const SimulationPlan& plan) {
  return Simulation(plan).run();
}

}  // namespace mtd::test
