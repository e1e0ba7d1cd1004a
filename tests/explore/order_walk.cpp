#include "tests/explore/order_walk.h"

#include <algorithm>
#include <deque>
#include <set>
#include <vector>

#include "daemon/supervisor/model/order.h"

namespace mtd::test {
namespace {

using config::Dependency;
using config::DependencyState;
using config::LossPolicy;
using model::OrderStep;
using model::PoolFacts;

// What a pool's processes do; the rest is in its facts.
enum class Phase { gone, coming, up, ailing, ending, done };

struct Entry {
  PoolFacts facts;
  Phase phase = Phase::gone;
  bool failed = false;
};
using World = std::vector<Entry>;

void derive(Entry& pool) {
  PoolFacts& facts = pool.facts;
  const bool stopped = !facts.wanted;
  facts.gone = pool.phase == Phase::gone || pool.phase == Phase::done;
  facts.completed = pool.phase == Phase::done;
  facts.started = !stopped && (pool.phase == Phase::up || pool.phase == Phase::ailing);
  facts.ready = !stopped && pool.phase == Phase::up;
  facts.down = stopped || pool.failed || pool.phase == Phase::ailing;
}

std::vector<PoolFacts> facts_of(const World& world) {
  std::vector<PoolFacts> facts;
  for (const Entry& entry : world)
    facts.push_back(entry.facts);
  return facts;
}

bool is_met(const Dependency& dependency, const World& world) {
  for (const Entry& entry : world) {
    if (entry.facts.name != dependency.pool) continue;
    if (entry.phase == Phase::done) return true;
    if (entry.facts.held_back || !entry.facts.wanted) return false;
    return dependency.until == DependencyState::started
               ? entry.phase == Phase::up || entry.phase == Phase::ailing
               : dependency.until == DependencyState::ready && entry.phase == Phase::up;
  }
  return false;
}

class Walker {
 public:
  explicit Walker(World first) : first_(std::move(first)) {}

  Finding run() {
    push(first_, "begin");
    while (!frontier_.empty() && finding_.wrong.empty()) {
      const World world = std::move(frontier_.front());
      frontier_.pop_front();
      for (std::size_t pool = 0; pool < world.size(); ++pool)
        branch(world, pool);
      stops_from(world);
    }
    finding_.states = seen_.size();
    finding_.complete = true;
    return finding_;
  }

 private:
  void fail(const std::string& what, const std::string& pool) {
    if (finding_.wrong.empty()) finding_.wrong = "order: " + what + ": " + pool;
  }

  void begin_end(Entry& pool) {
    pool.failed = false;
    if (pool.phase != Phase::gone)
      pool.phase = pool.phase == Phase::done ? Phase::gone : Phase::ending;
  }

  void take(World& world, const OrderStep& step) {
    const auto at = std::find_if(world.begin(), world.end(),
                                 [&](const Entry& entry) { return entry.facts.name == step.pool; });
    if (at == world.end()) return fail("a step for a pool that is not there", step.pool);
    PoolFacts& facts = at->facts;
    switch (step.what) {
      case OrderStep::What::admit:
        if (!facts.held_back || !facts.wanted) fail("admitted without need", step.pool);
        for (const Dependency& dependency : facts.depends_on) {
          if (!is_met(dependency, world)) fail("admitted too early", step.pool);
        }
        facts.held_back = false;
        if (at->phase == Phase::gone) at->phase = Phase::coming;
        break;
      case OrderStep::What::hold_back:
        if (facts.held_back) fail("held back twice", step.pool);
        facts.held_back = true;
        begin_end(*at);
        break;
      case OrderStep::What::stop:
        for (const Entry& other : world) {
          const bool ends = !other.facts.wanted || other.facts.stop_due || other.facts.held_back;
          for (const Dependency& dependency : other.facts.depends_on) {
            const bool must = ends || dependency.if_lost == LossPolicy::stop;
            if (dependency.pool == step.pool && must && !other.facts.gone)
              fail("stopped before what needs it", step.pool);
          }
        }
        facts.wanted = facts.stop_due = false;
        begin_end(*at);
        break;
    }
    derive(*at);
  }

  // The steps of one turn, until there are none.
  void settle(World& world) {
    for (std::size_t round = 0; round < 4 * world.size(); ++round) {
      const auto steps = model::order_steps(facts_of(world));
      if (steps.empty()) return check(world);
      for (const OrderStep& step : steps)
        take(world, step);
    }
    fail("the steps do not come to an end", world.front().facts.name);
  }

  void check(const World& world) {
    for (const Entry& pool : world) {
      if (pool.facts.held_back && (pool.phase == Phase::coming || pool.phase == Phase::up))
        fail("runs though it is held back", pool.facts.name);
      for (const Dependency& dependency : pool.facts.depends_on) {
        const bool must = dependency.if_lost == LossPolicy::stop && pool.facts.wanted;
        const auto other = std::find_if(world.begin(), world.end(), [&](const Entry& entry) {
          return entry.facts.name == dependency.pool;
        });
        if (must && other->facts.down && !pool.facts.held_back)
          fail("goes on without what it cannot be without", pool.facts.name);
      }
    }
  }

  void push(World world, const std::string& step) {
    ++finding_.steps;
    for (Entry& entry : world)
      derive(entry);
    settle(world);
    std::string key;
    for (const Entry& entry : world) {
      const PoolFacts& facts = entry.facts;
      key += static_cast<char>('a' + static_cast<int>(entry.phase));
      key += static_cast<char>('0' + (facts.wanted ? 1 : 0) + (facts.held_back ? 2 : 0) +
                               (facts.stop_due ? 4 : 0) + (entry.failed ? 8 : 0));
    }
    if (!finding_.wrong.empty() && finding_.trace.empty()) finding_.trace = "  " + step + " " + key;
    if (seen_.insert(key).second) frontier_.push_back(std::move(world));
  }

  void branch(const World& world, std::size_t at) {
    const auto with = [&](const char* what, auto&& change) {
      World next = world;
      change(next[at]);
      push(std::move(next), what + (" " + world[at].facts.name));
    };
    const Entry& pool = world[at];
    const bool runs = pool.facts.wanted && !pool.facts.held_back;
    if (pool.facts.wanted) {
      with("asked to stop", [](Entry& e) { e.facts.stop_due = true; });
      with("stopped now", [this](Entry& e) {
        e.facts.wanted = e.facts.stop_due = false;
        begin_end(e);
      });
    }
    with("started", [](Entry& e) {
      e.facts.wanted = true;
      e.facts.stop_due = e.failed = false;
      if (!e.facts.held_back && e.phase == Phase::gone) e.phase = Phase::coming;
    });
    if (runs && (pool.phase == Phase::coming || pool.phase == Phase::ailing)) {
      with("up", [](Entry& e) { e.phase = Phase::up; });
      with("done", [](Entry& e) { e.phase = Phase::done; });
    }
    if (runs && pool.phase == Phase::up) {
      with("ailing", [](Entry& e) { e.phase = Phase::ailing; });
      with("failed", [](Entry& e) {
        e.phase = Phase::gone;
        e.failed = true;
      });
    }
    if (pool.phase == Phase::ending) {
      with("ended", [runs](Entry& e) { e.phase = runs ? Phase::coming : Phase::gone; });
    }
  }

  // Everything is asked to stop, and what ends, ends: nothing is left after a bounded time.
  void stops_from(World world) {
    for (Entry& pool : world) {
      if (pool.facts.wanted) pool.facts.stop_due = true;
      derive(pool);
    }
    for (std::size_t turn = 0; turn <= world.size(); ++turn) {
      settle(world);
      for (Entry& pool : world) {
        if (pool.phase == Phase::ending) pool.phase = Phase::gone;
        derive(pool);
      }
    }
    for (const Entry& pool : world) {
      if (pool.facts.wanted || !pool.facts.gone)
        fail("a stop of all does not end", pool.facts.name);
    }
  }

  World first_;
  std::set<std::string> seen_;
  std::deque<World> frontier_;
  Finding finding_;
};

Entry pool(std::string name, std::vector<Dependency> depends_on) {
  Entry entry;
  entry.facts.name = std::move(name);
  entry.facts.held_back = !depends_on.empty();
  entry.facts.depends_on = std::move(depends_on);
  entry.facts.wanted = true;
  entry.phase = entry.facts.held_back ? Phase::gone : Phase::coming;
  return entry;
}

}  // namespace

Finding explore_order() {
  constexpr auto kReady = DependencyState::ready;
  constexpr auto kStarted = DependencyState::started;
  constexpr auto kCompleted = DependencyState::completed;
  const std::vector<World> graphs{
      {pool("db", {}), pool("web", {{"db", kReady, LossPolicy::keep}})},
      {pool("a", {}), pool("b", {{"a", kReady, LossPolicy::stop}}),
       pool("c", {{"b", kStarted, LossPolicy::stop}})},
      {pool("db", {}), pool("migrate", {{"db", kReady, LossPolicy::keep}}),
       pool("web", {{"db", kReady, LossPolicy::stop}, {"migrate", kCompleted, LossPolicy::keep}})},
      {pool("a", {}), pool("b", {{"a", kStarted, LossPolicy::keep}}),
       pool("c", {{"a", kReady, LossPolicy::stop}, {"b", kReady, LossPolicy::keep}})},
  };
  Finding all;
  all.complete = true;
  for (const World& graph : graphs) {
    Finding one = Walker(graph).run();
    all.states += one.states;
    all.steps += one.steps;
    if (one.wrong.empty()) continue;
    all.wrong = std::move(one.wrong);
    all.trace = std::move(one.trace);
    return all;
  }
  return all;
}

}  // namespace mtd::test
