#include "tests/explore/explorer.h"

#include <deque>
#include <unordered_set>

#include "daemon/supervisor/model/state.h"
#include "tests/explore/restart.h"
#include "tests/explore/state_hash.h"
#include "tests/explore/world.h"

namespace mtd::test {
namespace {

using namespace model;

constexpr int kKilled = 9;
constexpr int kFailed = 1 << 8;

struct Node {
  Pool pool;
  World world;
  Instant now;
  std::size_t index = 0;
};

struct Step {
  std::size_t parent = 0;
  std::string text;
};

// ---- Canonical form -----------------------------------------------------------------------------
void add_process(StateHash& hash, const Process& process, const Node& node) {
  const Pool::State& state = node.pool.state();
  const Duration stable = std::max(state.spec.backoff.reset_after, state.spec.min_uptime);
  const Duration age = state.is_dynamic() ? std::max(stable, state.spec.scaling.quiet) : stable;
  hash.add(process.state.index());
  hash.add(state.is_outdated(process) ? 1 : 0);
  hash.add(process.frozen ? 1 : 0);
  if (const auto* stopping = std::get_if<Stopping>(&process.state))
    hash.add(stopping->step * 2 + (stopping->drain ? 1 : 0));
  hash.add(static_cast<std::uint64_t>(process.activity));
  hash.add(ending_cause(process) ? static_cast<std::uint64_t>(*ending_cause(process)) + 1 : 0);
  if (const auto* emptying = std::get_if<Emptying>(&process.state)) {
    hash.add(static_cast<std::uint64_t>(emptying->phase));
  }
  Process thawed = process;  // the deadline that stands still counts as well
  thawed.frozen = false;
  hash.add(deadline_of(thawed), node.now);
  hash.add_age(process.started, node.now, age);
  if (const auto* up = std::get_if<Up>(&process.state)) hash.add_age(up->since, node.now, age);
  hash.add(process.watch.alive_until, node.now);
  hash.add(static_cast<std::uint64_t>(process.watch.alive_every.count_ns()));
  for (const ProbeTurn* turn : {&process.watch.live, &process.watch.ready}) {
    hash.add(turn->at, node.now);
    hash.add((turn->under_way ? 1U : 0U) | (std::min<std::uint32_t>(turn->failures, 3) << 1U));
  }
  hash.add(process.limits.expires, node.now);
  hash.add(process.limits.idle_until, node.now);
  hash.add(process.limits.rss_exceeded ? 1 : 0);
  hash.add(std::min(process.tasks, process.task_limit));
}

void add_body(StateHash& hash, const Body& body) {
  hash.add(static_cast<std::uint64_t>(body.life));
  hash.add((body.descendants ? 1U : 0U) | (body.terminated ? 2U : 0U) | (body.killed ? 4U : 0U) |
           (body.frozen ? 8U : 0U) | (body.watched ? 16U : 0U) | (body.probed[0] ? 32U : 0U) |
           (body.probed[1] ? 64U : 0U) | (body.commanded ? 128U : 0U) |
           (body.command_failed ? 256U : 0U) | (body.exits_published << 9U));
}

void add_breaker(StateHash& hash, const Node& node) {
  const Pool::State& state = node.pool.state();
  hash.add(state.breaker.index());
  if (const auto* open = std::get_if<BreakerOpen>(&state.breaker))
    hash.add(open->retry_at, node.now);
  if (const auto* half = std::get_if<BreakerHalfOpen>(&state.breaker))
    hash.add(half->probe.value_or(99));
  for (const auto& entry : state.crashes.entries()) {
    const Instant leaves = entry.first + state.spec.crash_limit.window;
    if (leaves <= node.now) continue;
    hash.add(leaves, node.now);
    hash.add(std::min(entry.crashes, crash_limit(state.spec, state.want())));
  }
}

std::uint64_t canonical(const Node& node) {
  const Pool::State& state = node.pool.state();
  StateHash hash;
  hash.add(state.spec.spawn_fingerprint);
  hash.add(state.previous ? state.previous->spec->spawn_fingerprint : 0);
  hash.add(state.failed ? state.failed->revision.spec->spawn_fingerprint : 0);
  hash.add((state.stopped ? 1U : 0U) | (state.awake ? 2U : 0U) | (state.was_full ? 4U : 0U));
  hash.add((state.held_back ? 1U : 0U) |
           (state.stop_due ? 2U + static_cast<unsigned>(*state.stop_due) : 0U) << 1U);
  hash.add(state.want());
  hash.add(state.frozen_since ? state.frozen_since->since(Instant()).count_ns() != 0 : 2U);
  if (state.frozen_since) hash.add_age(*state.frozen_since, node.now, kTimeUnit.scaled_by(4));
  hash.add((state.rollout.active ? 1U : 0U) | (state.rollout.proven ? 2U : 0U) |
           (state.rollout.failed ? 4U : 0U) | (state.rollout.paused ? 8U : 0U) |
           (state.rollout.back ? 16U : 0U) | (state.rollout.settling ? 32U : 0U) |
           (state.rollout.failures << 6U));
  add_breaker(hash, node);
  if (state.scaling) {
    hash.add(state.scaling->until, node.now);
    hash.add(std::uint64_t{state.scaling->granted} << 24U | state.scaling->claimed << 16U |
             state.scaling->peak << 8U | (state.scaling->demanded ? 4U : 0U) |
             static_cast<unsigned>(state.scaling->restraint));
  }
  for (const auto* queue : {&state.queues.recycle, &state.queues.reload, &state.queues.restart}) {
    hash.add(77);
    for (const std::uint32_t slot : *queue)
      hash.add(slot);
  }
  for (std::uint32_t number = 0; number < state.slots.size(); ++number) {
    const Slot& slot = state.slots[number];
    hash.add(1000 + slot.rest.index());
    if (const auto* waits = std::get_if<BackingOff>(&slot.rest)) hash.add(waits->until, node.now);
    hash.add(static_cast<std::uint64_t>(slot.replacing));
    hash.add(std::min(slot.crash_streak, 2U));  // by then the delay is at its maximum
    hash.add(std::min(slot.spawn_streak, 2U));
    for (const Process& process : slot.processes) {
      add_process(hash, process, node);
      add_body(hash, node.world.bodies().at({number, process.incarnation}));
    }
  }
  return hash.value();
}

// ---- Events that may come -----------------------------------------------------------------------
struct Choice {
  std::string text;
  Event event;
  WorkerKey key;
  Life life = Life::asked;  // of the body afterwards, where the event is about one
  bool about_body = false;
  bool descendants = false;
  Instant at;
};

class Choices {
 public:
  Choices(const Node& node, const Walk& walk) : node_(node), walk_(walk) {}

  std::vector<Choice> all() {
    advance();
    for (const auto& [key, body] : node_.world.bodies())
      facts(key, body);
    commands();
    if (walk_.menu.stale) stale();
    return std::move(choices_);
  }

 private:
  Choice& add(std::string text, Event event) {
    Choice choice;
    choice.text = std::move(text);
    choice.event = std::move(event);
    choice.at = node_.now;
    choices_.push_back(std::move(choice));
    return choices_.back();
  }
  void add(std::string text, Event event, WorkerKey key, Life life, bool descendants) {
    Choice& choice =
        add(text + " " + std::to_string(key.slot) + "." + std::to_string(key.incarnation),
            std::move(event));
    choice.key = key;
    choice.life = life;
    choice.about_body = true;
    choice.descendants = descendants;
  }

  void advance() {
    const Instant next = node_.pool.next_deadline();
    if (!next.is_never()) add("deadline", Tick{}).at = std::max(next, node_.now);
    // A unit of time in which nothing is due, as long as that can make a difference.
    const Instant later = node_.now + kTimeUnit;
    if (next > later) add("time passes", Tick{}).at = later;
  }

  void facts(const WorkerKey& key, const Body& body) {
    const Menu& menu = walk_.menu;
    switch (body.life) {
      case Life::asked:
        add("spawned", Spawned{key, 100}, key, Life::launching, false);
        if (menu.refuse) add("refused", SpawnRefused{key, 2, 11}, key, Life::dead, false);
        return;
      case Life::launching:
        if (!body.killed) add("executed", Executed{key}, key, Life::running, false);
        if (menu.setup_failure) exits("setup failed", key, ReportKind::setup_failed, 0, false);
        if (body.killed) exits("killed in set-up", key, ReportKind::unknown, kKilled, false);
        return;
      case Life::running:
        running(key, body);
        return;
      case Life::dead:
        if (body.watched && (!body.descendants || body.killed || body.terminated)) {
          add("tree empty", TreeEmpty{key}, key, Life::dead, false);
        }
        return;
    }
  }

  void answers(const WorkerKey& key, const Body& body) {
    if (body.killed || body.terminated) return;
    for (const ProbeRole role : {ProbeRole::live, ProbeRole::ready}) {
      if (!body.probed[static_cast<std::size_t>(role)]) continue;
      const std::string name = role == ProbeRole::live ? "live probe " : "ready probe ";
      add(name + "passed", Probed{key, role, ProbeOutcome::passed}, key, Life::running, false);
      add(name + "failed", Probed{key, role, ProbeOutcome::failed}, key, Life::running, false);
    }
  }

  void running(const WorkerKey& key, const Body& body) {
    const Menu& menu = walk_.menu;
    const bool asked = body.terminated || body.killed;
    if (menu.probes) answers(key, body);
    if (menu.crash || asked) exits("crash", key, ReportKind::program, kKilled, false);
    if (menu.leave_descendants)
      exits("crash with left-overs", key, ReportKind::program, kKilled, true);
    if (body.frozen || body.killed) return;
    if (menu.clean_exit) exits("clean exit", key, ReportKind::program, 0, false);
    if (body.commanded)
      add("stop command failed", StopCommandFailed{key}, key, Life::running, false);
    if (walk_.spec.ready == config::ReadyMode::notify) {
      add("ready", NotifiedReady{key}, key, Life::running, false);
    }
    if (menu.watchdog) {
      add("alive", NotifiedAlive{key, false}, key, Life::running, false);
      add("gives up", NotifiedAlive{key, true}, key, Life::running, false);
    }
    if (menu.rewatch) {
      add("slower watchdog", WatchdogChanged{key, kTimeUnit.scaled_by(2)}, key, Life::running,
          false);
      add("no watchdog", WatchdogChanged{key, Duration::infinite()}, key, Life::running, false);
    }
    if (menu.memory) {
      add("grows", MemoryUsed{key, 2}, key, Life::running, false);
      add("shrinks", MemoryUsed{key, 1}, key, Life::running, false);
    }
    if (menu.extend)
      add("extends", NotifiedExtension{key, kTimeUnit.scaled_by(3)}, key, Life::running, false);
    if (menu.tasks)
      add("condemned", Condemned{key, ExitCause::task_timeout}, key, Life::running, false);
    if (menu.tasks) add("task done", TasksDone{key, 1}, key, Life::running, false);
    if (menu.work) {
      add("busy", BusyChanged{key, true}, key, Life::running, false);
      add("idle", BusyChanged{key, false}, key, Life::running, false);
    }
    if (menu.self_stop) add("says stopping", NotifiedStopping{key}, key, Life::running, false);
  }

  void exits(const char* text, const WorkerKey& key, ReportKind kind, int status,
             bool descendants) {
    Exited fact;
    fact.key = key;
    fact.kind = kind;
    fact.wait_status = status;
    if (kind == ReportKind::setup_failed) {
      fact.stage = 16;
      fact.error = 2;
    }
    add(text, fact, key, Life::dead, descendants);
  }

  void commands() {
    const Menu& menu = walk_.menu;
    const std::uint32_t workers = walk_.spec.workers;
    if (menu.stop_start) {
      add("stop", StopCommand{});
      add("stop now", StopCommand{{}, StopManner::now});
      add("start", StartCommand{});
    }
    if (menu.drain) {
      add("stop --drain", StopCommand{{}, StopManner::drain});
      add("stop --drain 0", StopCommand{{0}, StopManner::drain});
    }
    if (menu.order) {
      add("hold back", HoldBackCommand{true});
      add("admit", HoldBackCommand{false});
      add("stop when free", StopCommand{{}, StopManner::gently, true});
    }
    if (menu.stop_one) {
      add("stop 0", StopCommand{{0}});
      add("start 0", StartCommand{{0}});
    }
    if (menu.scale) {
      add("scale 1", ScaleCommand{1U});
      add("scale reset", ScaleCommand{});
      add("scale 0", ScaleCommand{0U});
    }
    if (menu.work) {
      const auto share = node_.pool.share();
      add("granted", GrantCommand{share.needs, Restraint::none});
      add("granted one", GrantCommand{std::min(share.has + 1, share.needs), Restraint::processes});
      add("held back", GrantCommand{share.has, Restraint::memory});
    }
    if (menu.demand && node_.pool.waits_for_demand()) add("demand", Demand{});
    if (menu.restart) add("restart", RestartCommand{});
    if (menu.restart && workers > 1) add("restart 1", RestartCommand{{1}});
    if (menu.freeze) {
      add("freeze", FreezeCommand{true});
      add("thaw", FreezeCommand{false});
    }
    if (menu.reload) {
      const std::uint64_t first = walk_.spec.spawn_fingerprint;
      const bool at_first = node_.pool.spec().spawn_fingerprint == first;
      ReconfigureCommand command{walk_.spec, at_first ? 2U : 1U};
      command.spec.spawn_fingerprint = at_first ? first + 1 : first;
      add("reload", command);
    }
    if (menu.pause) {
      add("pause", RolloutCommand{RolloutOrder::pause});
      add("resume", RolloutCommand{RolloutOrder::resume});
    }
  }

  void stale() {
    for (std::uint32_t slot = 0; slot < node_.pool.state().slots.size(); ++slot) {
      const WorkerKey past{slot, 1'000'000};
      add("stale exit", Exited{past, ReportKind::program, 0, 0, kFailed, false});
      add("stale ready", NotifiedReady{past});
      add("stale empty", TreeEmpty{past});
    }
    for (const auto& [key, body] : node_.world.bodies()) {
      if (body.life != Life::dead) continue;
      add("exit again", Exited{key, ReportKind::program, 0, 0, kKilled, false});
      add("executed late", Executed{key});
    }
  }

  const Node& node_;
  const Walk& walk_;
  std::vector<Choice> choices_;
};

// The next fact that a quick world tells by itself.
bool tell_next(Node& node) {
  for (auto& [key, body] : node.world.bodies()) {
    Event event;
    if (body.life == Life::asked) {
      body.life = Life::launching;
      event = Spawned{key, 100};
    } else if (body.life == Life::launching && !body.killed) {
      body.life = Life::running;
      event = Executed{key};
    } else if (body.life == Life::dead && body.watched && !body.descendants) {
      event = TreeEmpty{key};
    } else {
      continue;
    }
    node.world.perform(node.pool, node.pool.step(event, node.now, 1), node.now);
    return node.world.wrong().empty();
  }
  return false;
}

// A stop command that failed has asked nobody: the signal does.
std::string unasked_by(const Node& node, const Choice& choice) {
  if (!std::holds_alternative<StopCommandFailed>(choice.event)) return {};
  const auto body = node.world.bodies().find(choice.key);
  const bool asked =
      body == node.world.bodies().end() || body->second.terminated || body->second.killed;
  return asked ? std::string() : "a stop command fails, and nobody asks the worker to end";
}

std::string take(Node& node, const Choice& choice, bool quick) {
  node.now = choice.at;
  if (choice.about_body) {
    Body& body = node.world.bodies().at(choice.key);
    body.life = choice.life;
    if (const auto* answer = std::get_if<Probed>(&choice.event))
      body.probed[static_cast<std::size_t>(answer->role)] = false;
    if (std::holds_alternative<StopCommandFailed>(choice.event)) {
      body.commanded = false;
      body.command_failed = true;
      if (body.stop_signals == 1) {  // nobody has asked it
        body.terminated = false;
        body.stop_signals = 0;
      }
    }
    if (choice.life == Life::dead) {
      if (std::holds_alternative<TreeEmpty>(choice.event)) body.descendants = false;
      if (choice.descendants) body.descendants = true;
      body.frozen = false;
    }
  }
  const std::uint64_t planned = node.world.planned_exits();
  const std::uint64_t restarts = node.pool.state().restarts;
  const std::uint32_t crashes = node.pool.summary(node.now).crashes_in_window;
  node.world.perform(node.pool, node.pool.step(choice.event, node.now, 1), node.now);
  const std::string unasked = unasked_by(node, choice);
  while (quick && tell_next(node)) {
  }
  if (!node.world.wrong().empty()) return node.world.wrong();
  if (!unasked.empty()) return unasked;
  if (node.world.planned_exits() > planned &&
      (node.pool.state().restarts > restarts ||
       node.pool.summary(node.now).crashes_in_window > crashes)) {
    return "a planned end was counted as a crash";
  }
  return {};
}

// Stop the pool and let the world obey: it must be stopped after a bounded number of steps.
std::string stops_from(Node node) {
  node.world.perform(node.pool, node.pool.step(StopCommand{}, node.now, 1), node.now);
  for (int turn = 0; turn < 200; ++turn) {
    if (!node.world.wrong().empty()) return node.world.wrong();
    if (node.pool.summary(node.now).state == PoolState::stopped) return {};
    Choice choice;
    bool found = false;
    Walk calm;
    calm.spec = node.pool.spec();
    calm.menu.crash = false;
    for (Choice& offered : Choices(node, calm).all()) {
      const bool ends = std::holds_alternative<Exited>(offered.event) ||
                        std::holds_alternative<TreeEmpty>(offered.event) ||
                        std::holds_alternative<Spawned>(offered.event);
      if (!ends && (found || !std::holds_alternative<Tick>(offered.event))) continue;
      if (ends && !node.world.bodies().at(offered.key).killed &&
          std::holds_alternative<Exited>(offered.event)) {
        continue;  // the world obeys SIGKILL only
      }
      found = true;
      choice = std::move(offered);
      if (ends) break;
    }
    if (!found) return "a stop waits for nothing";
    const std::string wrong = take(node, choice, false);
    if (!wrong.empty()) return wrong;
  }
  return "a stop does not come to its end";
}

// Another supervisor from here on, with the memory of this one: nothing that decides the future may
// differ. Then the same with requests that did not reach the keeper: they are made anew.
std::string survives_restart(const Node& node) {
  Node again = node;
  const PoolMemory memory = node.pool.memory();
  Restarted same = restart(node.pool, memory, node.world, node.now, 1);
  again.pool = std::move(same.pool);
  again.world.forgive_repeats(true);
  again.world.perform(again.pool, same.actions, again.now);
  if (!again.world.wrong().empty()) return "after a restart: " + again.world.wrong();
  if (canonical(again) != canonical(node)) return "a restart changes the future";
  if (!(again.pool.memory() == memory)) return "a restart changes the memory";
  Node lost = node;
  lost.world.lose_requests();
  Restarted other = restart(node.pool, memory, lost.world, lost.now, 1);
  lost.pool = std::move(other.pool);
  lost.world.forgive_repeats(true);
  lost.world.perform(lost.pool, other.actions, lost.now);
  if (!lost.world.wrong().empty()) return "after lost requests: " + lost.world.wrong();
  return {};
}

std::string trace_of(const std::vector<Step>& steps, std::size_t index, const std::string& last) {
  std::string text = last;
  while (index != 0) {
    text = steps[index].text + "\n  " + text;
    index = steps[index].parent;
  }
  return "  " + text;
}

// An open breaker lets no slot that crashed have a new process.
std::string check_breaker(const Node& before, const Node& after) {
  const auto& breaker = before.pool.state().breaker;
  if (!std::holds_alternative<BreakerOpen>(breaker) ||
      !std::holds_alternative<BreakerOpen>(after.pool.state().breaker)) {
    return {};
  }
  for (std::uint32_t slot = 0; slot < before.pool.state().slots.size(); ++slot) {
    const Slot& was = before.pool.state().slots[slot];
    const Slot& is_now = after.pool.state().slots[slot];
    if (rests_as<BackingOff>(was) && is_now.incarnation > was.incarnation) {
      return "a crashed slot was restarted while the breaker is open";
    }
  }
  return {};
}

}  // namespace

Finding explore(const Walk& walk) {
  Finding finding;
  std::unordered_set<std::uint64_t> seen;
  std::vector<Step> steps{Step{}};
  std::deque<Node> frontier;
  const Instant start = Instant::at_ns(1);
  Node first{Pool(walk.spec, 1, start, {}), World(), start, 0};
  Choice begin;
  begin.event = Tick{};
  begin.at = start;
  finding.wrong = take(first, begin, walk.menu.quick);
  if (!finding.wrong.empty()) return finding;
  frontier.push_back(std::move(first));
  seen.insert(canonical(frontier.back()));
  finding.complete = true;
  while (!frontier.empty()) {
    const Node node = std::move(frontier.front());
    frontier.pop_front();
    for (const Choice& choice : Choices(node, walk).all()) {
      Node next = node;
      ++finding.steps;
      finding.wrong = take(next, choice, walk.menu.quick);
      const bool fact = choice.about_body || std::holds_alternative<Tick>(choice.event);
      if (finding.wrong.empty() && fact) finding.wrong = check_breaker(node, next);
      if (finding.wrong.empty()) {
        if (!seen.insert(canonical(next)).second) continue;
        if (seen.size() % 16 == 0) finding.wrong = stops_from(next);
        if (seen.size() % 4 == 0 && finding.wrong.empty()) finding.wrong = survives_restart(next);
      }
      if (!finding.wrong.empty()) {
        finding.trace = trace_of(steps, node.index, choice.text);
        finding.states = seen.size();
        return finding;
      }
      if (seen.size() >= walk.most_states) {
        finding.complete = false;
        frontier.clear();
        break;
      }
      next.index = steps.size();
      steps.push_back({node.index, choice.text});
      frontier.push_back(std::move(next));
    }
  }
  finding.states = seen.size();
  return finding;
}

}  // namespace mtd::test
