// Breadth-first walk over every state that a small queue and its simulated world can reach
// together. Prints one line a walk; exit 1 when an invariant does not hold. --expect-finding: for
// models built with a deliberate fault; exit 0 when one is found. --most N: at most so many states
// a walk; --walk TEXT: only those whose name has it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <unordered_set>

#include "tests/explore/task_rig.h"

namespace {

using mtd::test::kTaskUnit;
using mtd::test::TaskMenu;
using mtd::test::TaskRig;
using namespace mtd::task;

struct Walk {
  const char* name;
  QueueSpec spec;
  TaskMenu menu;
  std::size_t most_states = 60'000;
};

struct Finding {
  std::size_t states = 0, steps = 0;
  bool complete = true;
  std::string wrong, trace;
};

QueueSpec small_spec() {
  QueueSpec spec;
  spec.pool = "small";
  spec.timeout = kTaskUnit.scaled_by(2);
  spec.grace = kTaskUnit;
  spec.max_attempts = 2;
  spec.max_crashes = 2;
  spec.retry_delay = kTaskUnit;
  spec.retry_max = kTaskUnit;
  spec.result_ttl = spec.dead_ttl = mtd::Duration::infinite();
  return spec;
}

std::vector<Walk> walks() {
  std::vector<Walk> all;
  const auto add = [&all](const char* name) -> Walk& {
    all.push_back({name, small_spec(), {}});
    return all.back();
  };
  {
    Walk& walk = add("crash, stop, one worker");
    walk.menu.crash = walk.menu.stop = true;
    walk.menu.spares = 4;
    walk.most_states = 60'000;
  }
  {
    Walk& walk = add("failures, delays, priorities");
    walk.menu.fail = walk.menu.no_retry = walk.menu.delay = walk.menu.priority = true;
  }
  {
    Walk& walk = add("two workers, three tasks, crash");
    walk.menu.slots = 2;
    walk.menu.puts = 3;
    walk.menu.crash = true;
    walk.most_states = 80'000;
  }
  {
    Walk& walk = add("cancel, crash");
    walk.menu.cancels = 2;
    walk.menu.crash = true;
  }
  {
    Walk& walk = add("drain, late answers, recycle, limit");
    walk.menu.drain = walk.menu.late = walk.menu.recycle = walk.menu.fail = true;
    walk.menu.limit = 1;
    walk.menu.spares = 3;
  }
  {
    Walk& walk = add("credit 2, nonsense, stop");
    walk.menu.credit = 2;
    walk.menu.puts = 3;
    walk.menu.misbehave = walk.menu.stop = true;
  }
  {
    Walk& walk = add("sockets that are closed, drain, crash");
    walk.menu.close = walk.menu.drain = walk.menu.crash = true;
  }
  {
    Walk& walk = add("batches of a group, cancelled and revived");
    walk.menu.batch = 2;
    walk.menu.group = true;
    walk.menu.cancels = walk.menu.revives = 1;
    walk.menu.fail = walk.menu.restart = true;
    walk.menu.restarts = 1;
  }
  {
    Walk& walk = add("revived, late answers, time-outs");
    walk.menu.puts = 1;
    walk.menu.revives = 2;
    walk.menu.late = walk.menu.no_retry = walk.menu.crash = true;
  }
  {
    Walk& walk = add("no room in the store");
    walk.menu.full = walk.menu.fail = true;
    walk.menu.crash = true;
  }
  {
    Walk& walk = add("a store that its tasks have filled");
    walk.menu.tight = walk.menu.full = walk.menu.crash = true;
    walk.menu.puts = 3;
  }
  {
    Walk& walk = add("the store breaks");
    walk.menu.broken = walk.menu.crash = true;
    walk.menu.cancels = 1;
  }
  {
    Walk& walk = add("another broker takes over");
    walk.menu.restart = walk.menu.stop = true;
    walk.menu.cancels = 1;
  }
  {
    Walk& walk = add("expiry, pause, full queue");
    walk.menu.expire = walk.menu.pause = true;
    walk.menu.puts = 3;
    walk.spec.max_queue = 1;
    walk.spec.on_full = OnFull::block;
    walk.spec.queue_timeout = kTaskUnit;
  }
  {
    Walk& walk = add("lost is dead");
    walk.spec.on_lost = OnLost::dead;
    walk.menu.crash = walk.menu.stop = walk.menu.restart = true;
  }
  {
    Walk& walk = add("commits at once: four tasks, two workers, everything that workers do");
    walk.menu.lazy_commits = false;
    walk.menu.puts = 4;
    walk.menu.slots = 2;
    walk.menu.crash = walk.menu.stop = walk.menu.fail = walk.menu.late = true;
    walk.most_states = 80'000;
  }
  {
    Walk& walk = add("what needs no sync is told first: two workers, crash, cancel");
    walk.menu.early = walk.menu.crash = walk.menu.fail = true;
    walk.menu.puts = 3;
    walk.menu.slots = 2;
    walk.menu.cancels = 1;
    walk.most_states = 40'000;
  }
  {
    Walk& walk = add("whole: crash, one task");
    walk.menu.puts = 1;
    walk.menu.crash = walk.menu.stop = walk.menu.late = walk.menu.fail = walk.menu.drain = true;
    walk.menu.cancels = 1;
    walk.menu.spares = 3;
    walk.most_states = 400'000;
  }
  return all;
}

struct Step {
  std::size_t parent = 0;
  std::string text;
};

std::string trace_of(const std::vector<Step>& steps, std::size_t index, const std::string& last) {
  std::string text = last;
  for (; index != 0; index = steps[index].parent)
    text = steps[index].text + "\n  " + text;
  return "  " + text;
}

// Whether everything becomes final from here, with workers that answer and with ones that do not.
std::string rests_from(const TaskRig& rig) {
  for (const bool stubborn : {false, true}) {
    TaskRig calm = rig;
    calm.come_to_rest(stubborn);
    if (!calm.wrong().empty()) return (stubborn ? "with stubborn workers: " : "") + calm.wrong();
  }
  return {};
}

Finding explore(const Walk& walk) {
  Finding finding;
  std::unordered_set<std::uint64_t> seen;
  std::vector<Step> steps{Step{}};
  std::deque<std::pair<TaskRig, std::size_t>> frontier;
  frontier.emplace_back(TaskRig(walk.spec, walk.menu), 0);
  seen.insert(frontier.back().first.canonical());
  while (!frontier.empty()) {
    const auto [rig, index] = std::move(frontier.front());
    frontier.pop_front();
    ++finding.states;
    if (finding.states % 8 == 1) {
      finding.wrong = rests_from(rig);
      if (!finding.wrong.empty()) {
        finding.trace = trace_of(steps, index, "then everything obeys");
        return finding;
      }
    }
    for (const TaskRig::Choice& choice : rig.choices()) {
      TaskRig next = rig;
      next.take(choice);
      ++finding.steps;
      if (!next.wrong().empty()) {
        finding.wrong = next.wrong();
        finding.trace = trace_of(steps, index, choice.text);
        return finding;
      }
      if (!seen.insert(next.canonical()).second) continue;
      if (seen.size() > walk.most_states) {
        finding.complete = false;
        continue;
      }
      steps.push_back({index, choice.text});
      frontier.emplace_back(std::move(next), steps.size() - 1);
    }
  }
  return finding;
}

}  // namespace

int main(int argc, char** argv) {
  bool expect = false;
  std::size_t most = ~std::size_t{0};
  const char* only = "";
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--expect-finding") == 0) expect = true;
    if (std::strcmp(argv[i], "--most") == 0 && i + 1 < argc)
      most = std::strtoull(argv[++i], nullptr, 10);
    if (std::strcmp(argv[i], "--walk") == 0 && i + 1 < argc) only = argv[++i];
  }
  bool found = false;
  for (Walk walk : walks()) {
    if (std::strstr(walk.name, only) == nullptr) continue;
    walk.most_states = std::min(walk.most_states, most);
    const Finding finding = explore(walk);
    std::printf("%-60s %7zu states %8zu steps%s\n", walk.name, finding.states, finding.steps,
                finding.complete ? ", complete" : "");
    if (finding.wrong.empty()) continue;
    std::printf("WRONG: %s\n%s\n", finding.wrong.c_str(), finding.trace.c_str());
    found = true;
    break;
  }
  if (expect && !found) std::printf("the deliberate fault was not found\n");
  return found == expect ? 0 : 1;
}
