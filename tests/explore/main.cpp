// Walks the pool model under several configurations. Prints one line a walk; exit 1 when an
// invariant does not hold. `--expect-finding`: for models built with a deliberate fault; exit 0
// when one is found.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/explore/explorer.h"
#include "tests/explore/order_walk.h"

namespace {

using mtd::Duration;
using mtd::test::Menu;
using mtd::test::Walk;

mtd::config::PoolSpec small_spec(std::uint32_t workers) {
  mtd::config::PoolSpec spec;
  spec.name = "small";
  spec.workers = workers;
  spec.spawn_fingerprint = 1;
  const auto units = [](int count) { return mtd::test::kTimeUnit.scaled_by(count); };
  spec.backoff = {units(1), 2, units(2), 0, units(2)};
  spec.crash_limit = {3, units(3), mtd::config::BreakerAction::backoff, units(2)};
  spec.start_timeout = units(2);
  spec.min_uptime = units(1);
  spec.stop.timeout = units(1);
  spec.recycle.jitter = 0;
  return spec;
}

std::vector<Walk> walks() {
  std::vector<Walk> all;
  Walk basic{"crash, stop, start", small_spec(3), {}};
  basic.menu.stop_start = true;
  all.push_back(basic);

  Walk stale{"stale facts, left-overs, clean exits", small_spec(3), {}};
  stale.menu.stale = stale.menu.leave_descendants = stale.menu.clean_exit = true;
  stale.menu.stop_start = true;
  stale.most_states = 40'000;
  all.push_back(stale);

  Walk refusals{"refusals, set-up failures, notify, on-failure", small_spec(3), {}};
  refusals.spec.ready = mtd::config::ReadyMode::notify;
  refusals.spec.restart = mtd::config::RestartPolicy::on_failure;
  refusals.menu.refuse = refusals.menu.setup_failure = refusals.menu.clean_exit = true;
  refusals.menu.stop_one = true;
  refusals.most_states = 30'000;
  all.push_back(refusals);

  Walk breaker{"breaker that fails the pool, two slots", small_spec(2), {}};
  breaker.spec.crash_limit.action = mtd::config::BreakerAction::fail;
  breaker.menu.stop_start = breaker.menu.stop_one = true;
  breaker.most_states = 20'000;
  all.push_back(breaker);

  Walk scale{"scale, stop one, no overlap", small_spec(3), {}};
  scale.spec.overlap = false;
  scale.menu.scale = scale.menu.stop_one = scale.menu.restart = true;
  scale.most_states = 30'000;
  all.push_back(scale);

  Walk roll{"reload, restart, overlap", small_spec(3), {}};
  roll.menu.reload = roll.menu.restart = roll.menu.stop_start = true;
  roll.most_states = 30'000;
  all.push_back(roll);

  Walk roll_notify{"reload, notify, set-up failures, two slots", small_spec(2), {}};
  roll_notify.spec.ready = mtd::config::ReadyMode::notify;
  roll_notify.menu.reload = roll_notify.menu.setup_failure = true;
  roll_notify.most_states = 20'000;
  all.push_back(roll_notify);

  Walk surge{"reload, two slots at a time, pause", small_spec(3), {}};
  surge.spec.reload.max_surge = 2;
  surge.menu.reload = surge.menu.pause = true;
  surge.most_states = 30'000;
  all.push_back(surge);

  Walk no_surge{"reload without a second process, scale", small_spec(3), {}};
  no_surge.spec.reload.max_surge = 0;
  no_surge.spec.reload.max_unavailable = 2;
  no_surge.menu.reload = no_surge.menu.scale = no_surge.menu.stop_start = true;
  no_surge.most_states = 20'000;
  all.push_back(no_surge);

  Walk steps{"stop in steps, drain, left-overs", small_spec(2), {}};
  steps.spec.stop.steps = {{{15}, mtd::test::kTimeUnit}, {{3}, mtd::test::kTimeUnit}};
  steps.menu.stop_start = steps.menu.drain = steps.menu.leave_descendants = true;
  steps.most_states = 30'000;
  all.push_back(steps);

  Walk command{"stop by a command, then in steps, drain", small_spec(2), {}};
  command.spec.stop = steps.spec.stop;
  command.spec.stop.command.command = {"/bin/ask"};
  command.menu.stop_start = command.menu.drain = command.menu.quick = true;
  command.most_states = 20'000;
  all.push_back(command);

  Walk order{"held back, admitted, stopped when free", small_spec(2), {}};
  order.menu.stop_start = order.menu.order = true;
  order.most_states = 20'000;
  all.push_back(order);

  Walk recycle{"recycling, self-stop, scale", small_spec(3), {}};
  recycle.spec.recycle.max_tasks = 1;
  recycle.menu.tasks = recycle.menu.self_stop = recycle.menu.scale = recycle.menu.stop_start = true;
  recycle.most_states = 30'000;
  all.push_back(recycle);

  Walk freeze{"freeze, thaw, left-overs kept, never", small_spec(2), {}};
  freeze.spec.orphans = mtd::config::OrphanPolicy::keep;
  freeze.spec.restart = mtd::config::RestartPolicy::never;
  freeze.menu.freeze = freeze.menu.leave_descendants = freeze.menu.stop_start = true;
  freeze.menu.restart = true;
  freeze.most_states = 20'000;
  all.push_back(freeze);

  Walk health{"probes, watchdog, freeze, two slots", small_spec(2), {}};
  health.spec.ready = mtd::config::ReadyMode::probe;
  health.spec.watchdog = mtd::test::kTimeUnit.scaled_by(2);
  for (auto* probe : {&health.spec.probes.live, &health.spec.probes.ready}) {
    probe->tcp = "127.0.0.1:1";
    probe->period = mtd::test::kTimeUnit;
    probe->threshold = 2;
  }
  health.menu.probes = health.menu.watchdog = health.menu.freeze = health.menu.stop_start = true;
  health.menu.crash = false;
  health.most_states = 30'000;
  all.push_back(health);

  Walk readiness{"ready probe, crash, reload, extend", small_spec(2), {}};
  readiness.spec.ready = mtd::config::ReadyMode::probe;
  readiness.spec.probes.ready = health.spec.probes.ready;
  readiness.menu.probes = readiness.menu.reload = readiness.menu.extend = true;
  readiness.menu.quick = true;
  readiness.most_states = 30'000;
  all.push_back(readiness);

  Walk limits{"memory, age, idleness, tasks, crash", small_spec(3), {}};
  limits.spec.recycle.max_tasks = 2;
  limits.spec.recycle.max_rss = 2;
  limits.spec.recycle.max_lifetime = mtd::test::kTimeUnit.scaled_by(4);
  limits.spec.recycle.idle_timeout = mtd::test::kTimeUnit.scaled_by(2);
  limits.menu.quick = limits.menu.memory = limits.menu.tasks = true;
  limits.most_states = 30'000;
  all.push_back(limits);

  Walk floor = limits;
  floor.name = "memory, tasks, crash, no overlap";
  floor.spec.overlap = false;
  floor.menu.stop_one = true;
  all.push_back(floor);

  Walk guarded{"whole: watchdog, stop, start, one slot", small_spec(1), {}};
  guarded.spec.watchdog = mtd::test::kTimeUnit;
  guarded.menu.watchdog = guarded.menu.stop_start = guarded.menu.leave_descendants = true;
  guarded.menu.quick = guarded.menu.self_stop = true;
  guarded.most_states = 400'000;
  all.push_back(guarded);

  Walk asked{"whole: probes, freeze, stop, start, one slot", small_spec(1), {}};
  asked.spec.ready = mtd::config::ReadyMode::probe;
  asked.spec.probes = health.spec.probes;
  asked.menu.probes = asked.menu.freeze = asked.menu.stop_start = asked.menu.quick = true;
  asked.menu.crash = false;
  asked.most_states = 400'000;
  all.push_back(asked);

  Walk measured{"whole: memory, crash, no overlap, two slots", small_spec(2), {}};
  measured.spec.overlap = false;
  measured.spec.recycle.max_rss = 2;
  measured.menu.quick = measured.menu.memory = true;
  measured.most_states = 400'000;
  all.push_back(measured);

  Walk idle{"whole: idle_timeout, busy and idle, two slots", small_spec(2), {}};
  idle.spec.recycle.idle_timeout = mtd::test::kTimeUnit.scaled_by(2);
  idle.menu.quick = idle.menu.work = true;
  idle.menu.crash = false;
  idle.most_states = 100'000;
  all.push_back(idle);

  Walk rewatched{"whole: the worker changes its watchdog, one slot", small_spec(1), {}};
  rewatched.spec.watchdog = mtd::test::kTimeUnit;
  rewatched.menu.quick = rewatched.menu.watchdog = rewatched.menu.rewatch = true;
  rewatched.menu.freeze = true;
  rewatched.most_states = 100'000;
  all.push_back(rewatched);

  Walk work{"dynamic: busy and idle, grants, two slots", small_spec(1), {}};
  work.spec.scaling = {1, 2, 1, mtd::test::kTimeUnit.scaled_by(2)};
  work.menu.work = work.menu.clean_exit = work.menu.stop_start = true;
  work.most_states = 40'000;
  all.push_back(work);

  Walk whole_work{"whole: dynamic, busy and idle, grants", small_spec(1), {}};
  whole_work.spec.scaling = {1, 2, 1, mtd::test::kTimeUnit.scaled_by(2)};
  whole_work.menu.quick = whole_work.menu.work = true;
  whole_work.menu.crash = false;
  whole_work.most_states = 400'000;
  all.push_back(whole_work);

  Walk demand{"dynamic: from none on demand, scale, stop one", small_spec(0), {}};
  demand.spec.scaling = {0, 2, 1, mtd::test::kTimeUnit.scaled_by(1)};
  demand.spec.listen.emplace_back();
  demand.menu.quick = demand.menu.work = demand.menu.demand = demand.menu.clean_exit = true;
  demand.menu.scale = demand.menu.stop_one = true;
  demand.most_states = 60'000;
  all.push_back(demand);

  Walk deep{"whole: crash, breaker, stop, start", small_spec(3), {}};
  deep.menu.quick = deep.menu.stop_start = true;
  deep.most_states = 200'000;
  all.push_back(deep);

  // Nothing is left out here: in a calm world the walk comes to its end.
  Walk whole{"whole: crash, breaker", small_spec(3), {}};
  whole.menu.quick = true;
  whole.most_states = 400'000;
  all.push_back(whole);

  Walk whole_stop{"whole: crash, stop, start, two slots", small_spec(2), {}};
  whole_stop.menu.quick = whole_stop.menu.stop_start = true;
  whole_stop.most_states = 400'000;
  all.push_back(whole_stop);

  Walk one{"whole: one slot, every fact in every order", small_spec(1), {}};
  one.menu.stop_start = one.menu.stale = one.menu.leave_descendants = one.menu.clean_exit = true;
  one.menu.refuse = one.menu.setup_failure = true;
  one.most_states = 400'000;
  all.push_back(one);

  Walk all_scale{"whole: scale, restart", small_spec(3), {}};
  all_scale.menu.quick = all_scale.menu.scale = all_scale.menu.restart = true;
  all_scale.menu.crash = false;
  all_scale.most_states = 400'000;
  all.push_back(all_scale);

  Walk two_roll{"whole: crash, reload, two slots", small_spec(2), {}};
  two_roll.menu.quick = two_roll.menu.reload = true;
  two_roll.most_states = 300'000;
  all.push_back(two_roll);

  Walk all_recycle{"whole: tasks, clean exits, two slots", small_spec(2), {}};
  all_recycle.spec.recycle.max_tasks = 1;
  all_recycle.menu.quick = all_recycle.menu.tasks = all_recycle.menu.clean_exit = true;
  all_recycle.menu.crash = false;
  all_recycle.most_states = 400'000;
  all.push_back(all_recycle);

  Walk all_self{"whole: crash, self-stop, one slot", small_spec(1), {}};
  all_self.menu.quick = all_self.menu.self_stop = all_self.menu.freeze = true;
  all_self.menu.stop_start = all_self.menu.leave_descendants = true;
  all_self.most_states = 400'000;
  all.push_back(all_self);

  Walk all_freeze{"whole: crash, freeze, thaw", small_spec(3), {}};
  all_freeze.menu.quick = all_freeze.menu.freeze = true;
  all_freeze.most_states = 400'000;
  all.push_back(all_freeze);

  Walk deep_fail = deep;
  deep_fail.name = "whole: breaker that fails the pool";
  deep_fail.spec.crash_limit.action = mtd::config::BreakerAction::fail;
  all.push_back(deep_fail);

  Walk deep_scale{"quick: crash, scale, restart", small_spec(3), {}};
  deep_scale.menu.quick = deep_scale.menu.scale = deep_scale.menu.restart = true;
  all.push_back(deep_scale);

  Walk deep_roll{"quick: crash, reload, no overlap", small_spec(3), {}};
  deep_roll.spec.overlap = false;
  deep_roll.menu.quick = deep_roll.menu.reload = true;
  all.push_back(deep_roll);

  Walk deep_fail_roll{"quick: crash, reload, pause", small_spec(3), {}};
  deep_fail_roll.menu.quick = deep_fail_roll.menu.reload = deep_fail_roll.menu.pause = true;
  deep_fail_roll.most_states = 60'000;
  all.push_back(deep_fail_roll);

  Walk deep_recycle{"quick: tasks, self-stop, freeze, left-overs", small_spec(3), {}};
  deep_recycle.spec.recycle.max_tasks = 1;
  deep_recycle.menu.crash = false;
  deep_recycle.menu.quick = deep_recycle.menu.tasks = deep_recycle.menu.self_stop = true;
  deep_recycle.menu.freeze = deep_recycle.menu.leave_descendants = true;
  all.push_back(deep_recycle);
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  bool expects = false;
  std::size_t most = 0;
  const char* only = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--expect-finding") == 0) expects = true;
    if (std::strcmp(argv[i], "--most") == 0 && i + 1 < argc)
      most = std::strtoull(argv[++i], nullptr, 10);
    if (std::strcmp(argv[i], "--walk") == 0 && i + 1 < argc) only = argv[++i];
  }
  std::size_t states = 0;
  std::size_t steps = 0;
  if (only == nullptr || std::strcmp(only, "order") == 0) {
    const mtd::test::Finding finding = mtd::test::explore_order();
    if (!finding.wrong.empty()) {
      std::printf("%s\n%s\n", finding.wrong.c_str(), finding.trace.c_str());
      return expects ? 0 : 1;
    }
    if (!expects) {
      std::printf("%-50s %7zu states, %8zu steps, complete\n", "order of pools", finding.states,
                  finding.steps);
    }
  }
  std::vector<Walk> all = walks();
  for (Walk& walk : all) {
    if (only != nullptr && walk.name.find(only) == std::string::npos) continue;
    if (most != 0) walk.most_states = most;
    const mtd::test::Finding finding = mtd::test::explore(walk);
    states += finding.states;
    steps += finding.steps;
    if (!finding.wrong.empty()) {
      std::printf("%s: %s\n%s\n", walk.name.c_str(), finding.wrong.c_str(), finding.trace.c_str());
      return expects ? 0 : 1;
    }
    if (!expects) {
      std::printf("%-50s %7zu states, %8zu steps, %s\n", walk.name.c_str(), finding.states,
                  finding.steps, finding.complete ? "complete" : "cut off");
    }
  }
  std::printf("%zu states, %zu steps\n", states, steps);
  return expects ? 1 : 0;
}
