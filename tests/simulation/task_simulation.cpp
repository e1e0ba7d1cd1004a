// A queue with hundreds of tasks under random events and faults: workers that fail, die and talk
// nonsense, a store without room, brokers that die with operations under way. Then everything
// obeys, and every accepted task has to become final. Without arguments: many seeds. --seed N: that
// one again. A failing run prints how to repeat it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "common/entropy.h"
#include "tests/explore/task_rig.h"

namespace {

using mtd::Entropy;
using mtd::test::kTaskUnit;
using mtd::test::TaskMenu;
using mtd::test::TaskRig;

TaskMenu menu_of(Entropy& dice) {
  const auto coin = [&dice] { return dice.next() % 2 == 0; };
  TaskMenu menu;
  menu.puts = 150;
  menu.slots = 1 + static_cast<std::uint32_t>(dice.next() % 5);
  menu.spares = 100'000;
  menu.credit = 1 + static_cast<std::uint32_t>(dice.next() % 3);
  menu.limit = coin() ? 0 : 1 + dice.next() % 7;
  menu.cancels = coin() ? 0 : 40;
  menu.revives = coin() ? 0 : 30;
  menu.batch = coin() ? 1 : 1 + static_cast<std::uint32_t>(dice.next() % 4);
  menu.group = coin();
  menu.fail = menu.no_retry = menu.crash = menu.late = true;
  menu.stop = coin();
  menu.misbehave = coin();
  menu.close = coin();
  menu.drain = coin();
  menu.delay = coin();
  menu.expire = coin();
  menu.priority = coin();
  menu.full = coin();
  menu.tight = dice.next() % 4 == 0;
  menu.restart = coin();
  menu.restarts = 6;
  menu.pause = coin();
  menu.recycle = coin();
  return menu;
}

mtd::task::QueueSpec spec_of(Entropy& dice) {
  mtd::task::QueueSpec spec;
  spec.pool = "simulated";
  spec.timeout = kTaskUnit.scaled_by(3);
  spec.grace = kTaskUnit;
  spec.retry_max = kTaskUnit.scaled_by(20);
  spec.max_queue = 20 + dice.next() % 200;
  spec.on_full = dice.next() % 2 == 0 ? mtd::task::OnFull::block : mtd::task::OnFull::refuse;
  spec.queue_timeout = kTaskUnit.scaled_by(4);
  spec.result_ttl = spec.dead_ttl = mtd::Duration::infinite();
  return spec;
}

// A kind of event first, one of its kind then; what is common comes more often.
TaskRig::Choice pick(const TaskRig& rig, Entropy& dice) {
  using Kind = TaskRig::Choice::Kind;
  std::map<Kind, std::vector<TaskRig::Choice>> by_kind;
  for (TaskRig::Choice& choice : rig.choices())
    by_kind[choice.kind].push_back(std::move(choice));
  const std::map<Kind, std::uint64_t> weights = {
      {Kind::put, 30},    {Kind::commit, 60}, {Kind::done, 40}, {Kind::ready, 40},
      {Kind::attach, 40}, {Kind::resume, 20}, {Kind::fail, 8},  {Kind::deadline, 8}};
  std::uint64_t sum = 0;
  const auto weight = [&weights](Kind kind) {
    const auto found = weights.find(kind);
    return found == weights.end() ? std::uint64_t{2} : found->second;
  };
  for (const auto& [kind, choices] : by_kind)
    sum += weight(kind);
  std::uint64_t at = dice.next() % sum;
  for (const auto& [kind, choices] : by_kind) {
    if (at < weight(kind)) return choices[dice.next() % choices.size()];
    at -= weight(kind);
  }
  return {};
}

bool run(std::uint64_t seed, std::uint64_t& events, std::uint64_t& settled) {
  Entropy dice(seed);
  const mtd::task::QueueSpec spec = spec_of(dice);
  TaskRig rig(spec, menu_of(dice));
  for (int step = 0; step < 2500 && rig.wrong().empty() && !rig.choices().empty(); ++step) {
    rig.take(pick(rig, dice), dice.next());
    ++events;
  }
  if (rig.wrong().empty()) rig.come_to_rest(false);
  settled += rig.settled();
  if (rig.wrong().empty()) return true;
  std::printf("%s\nagain: simulate_tasks --seed %llu\n", rig.wrong().c_str(),
              static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t events = 0, settled = 0;
  if (argc == 3 && std::strcmp(argv[1], "--seed") == 0)
    return run(std::strtoull(argv[2], nullptr, 10), events, settled) ? 0 : 1;
  std::uint64_t seeds = 100;
  if (argc == 3 && std::strcmp(argv[1], "--seeds") == 0)
    seeds = std::strtoull(argv[2], nullptr, 10);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    if (!run(seed, events, settled)) return 1;
  }
  std::printf("%llu seeds, %llu events, %llu tasks became final\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(events),
              static_cast<unsigned long long>(settled));
  return settled > 50 * seeds ? 0 : 1;
}
