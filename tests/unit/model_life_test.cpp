// A worker's life in numbers: what a whole pool does when its workers were started in one second.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/entropy.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/model/state.h"

using namespace mtd;
using namespace mtd::model;

namespace {

constexpr std::uint32_t kWorkers = 64;

config::PoolSpec spec_of_many() {
  config::PoolSpec spec;
  spec.name = "many";
  spec.workers = kWorkers;
  spec.spawn_fingerprint = 1;
  return spec;
}

// A world without surprises: programs start within 100 ms and end at once when they are asked to.
class CalmWorld {
 public:
  explicit CalmWorld(const config::PoolSpec& spec) : pool_(spec, 1, now_) {
    step(Tick{});
    while (pool_.summary(now_).ready < kWorkers)
      next();
  }
  void run_until(Instant end) {
    while (upcoming() <= end)
      next();
  }
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] const Pool& pool() const { return pool_; }
  void step(const Event& event) {
    const auto actions = pool_.step(event, now_, dice_.next());
    for (const Action& action : actions)
      std::visit([this](const auto& one) { obey(one); }, action);
    const auto view = pool_.summary(now_);
    if (complete) fewest_ready = std::min(fewest_ready, view.ready);
    complete = complete || view.ready == kWorkers;
    most_alive = std::max(most_alive, view.alive);
  }

  bool complete = false;
  std::uint32_t fewest_ready = kWorkers, most_alive = 0;
  std::multiset<std::int64_t> recycled_in;          // second of the start of each replacement
  std::map<std::int64_t, std::uint32_t> probes_in;  // by tenths of a second

 private:
  [[nodiscard]] Instant upcoming() const {
    const Instant fact = facts_.empty() ? Instant::never() : facts_.begin()->first;
    return std::min(fact, pool_.next_deadline());
  }
  void next() {
    now_ = std::max(now_, upcoming());
    if (facts_.empty() || facts_.begin()->first > now_) return step(Tick{});
    const Event event = facts_.begin()->second;
    facts_.erase(facts_.begin());
    step(event);
  }
  void later(std::int64_t ms, Event event) {
    facts_.emplace(now_ + Duration::milliseconds(ms), std::move(event));
  }
  void obey(const SpawnAction& action) {
    later(1, Spawned{action.key, 100});
    later(2 + static_cast<std::int64_t>(dice_.next() % 100), Executed{action.key});
  }
  void obey(const SignalAction& action) { later(1, Exited{action.key}); }
  void obey(const StopCommandAction&) {}  // no pool here has one
  void obey(const KillTreeAction&) {}
  void obey(const WatchTreeAction& action) { later(0, TreeEmpty{action.key}); }
  void obey(const ForgetAction&) {}
  void obey(const FreezeAction&) {}
  void obey(const ProbeAction& action) {
    ++probes_in[now_.count_ns() / 100'000'000];
    later(1, Probed{action.key, action.role, ProbeOutcome::passed});
  }
  void obey(const ClaimAction& action) { later(0, GrantCommand{action.needs, Restraint::none}); }
  void obey(const PublishAction& action) {
    if (action.happening == Happening::recycling)
      recycled_in.insert(now_.count_ns() / 1'000'000'000);
  }

  Entropy dice_{99};
  Instant now_ = Instant::at_ns(1);
  Pool pool_;
  std::multimap<Instant, Event> facts_;
};

}  // namespace

TEST_CASE("64 workers started together reach their age apart, and the pool stays complete") {
  config::PoolSpec spec = spec_of_many();
  spec.recycle.max_lifetime = Duration::seconds(6 * 3600);
  CalmWorld world(spec);
  world.run_until(world.now() + Duration::seconds(6 * 3600));
  CHECK(world.recycled_in.size() == kWorkers);
  CHECK(world.fewest_ready == kWorkers);
  CHECK(world.most_alive <= kWorkers + kWorkers / 10);
  const std::set<std::int64_t> seconds(world.recycled_in.begin(), world.recycled_in.end());
  CHECK(seconds.size() >= kWorkers - 4);  // over 36 minutes
  CHECK(*seconds.rbegin() - *seconds.begin() >= 30 * 60);
}

TEST_CASE(
    "without jitter they are due in one second: a few at a time, and the pool stays complete") {
  config::PoolSpec spec = spec_of_many();
  spec.recycle.max_lifetime = Duration::seconds(100);
  spec.recycle.jitter = 0;
  CalmWorld world(spec);
  world.run_until(world.now() + Duration::seconds(150));
  CHECK(world.recycled_in.size() == kWorkers);
  CHECK(world.fewest_ready == kWorkers);
  CHECK(world.most_alive <= kWorkers + kWorkers / 10);
}

TEST_CASE("without overlap recycling takes no more away than recycle.concurrency") {
  config::PoolSpec spec = spec_of_many();
  spec.overlap = false;
  spec.recycle.max_lifetime = Duration::seconds(100);
  spec.recycle.jitter = 0;
  spec.recycle.concurrency = 3;
  CalmWorld world(spec);
  world.run_until(world.now() + Duration::seconds(150));
  CHECK(world.recycled_in.size() == kWorkers);
  CHECK(world.fewest_ready == kWorkers - 3);
  CHECK(world.most_alive <= kWorkers);
}

TEST_CASE("memory that all exceed at once is given back a few workers at a time") {
  config::PoolSpec spec = spec_of_many();
  spec.recycle.max_rss = 1000;
  CalmWorld world(spec);
  for (std::uint32_t slot = 0; slot < kWorkers; ++slot)
    world.step(MemoryUsed{{slot, 1}, 1000});
  world.run_until(world.now() + Duration::seconds(60));
  CHECK(world.recycled_in.size() == kWorkers);
  CHECK(world.fewest_ready == kWorkers);
  CHECK(world.pool().summary(world.now()).restarts == 0);
}

TEST_CASE("limits are drawn for each process, and only ever shorter") {
  config::PoolSpec spec = spec_of_many();
  spec.recycle.max_rss = 1000;
  spec.recycle.max_lifetime = Duration::seconds(1000);
  spec.recycle.idle_timeout = Duration::seconds(100);
  const CalmWorld world(spec);
  std::set<std::uint64_t> sizes;
  std::set<std::int64_t> ages;
  for (const Slot& slot : world.pool().state().slots) {
    const Process& process = slot.processes.front();
    CHECK(process.limits.rss >= least_rss_limit(spec.recycle));
    CHECK(process.limits.rss <= 1000);
    sizes.insert(process.limits.rss);
    const Duration age = process.limits.expires.since(process.started);
    CHECK(age >= Duration::seconds(900));
    CHECK(age <= Duration::seconds(1000));
    ages.insert(age.count_ns());
    CHECK(process.limits.idle >= Duration::seconds(90));
    CHECK(process.limits.idle <= Duration::seconds(100));
  }
  CHECK(sizes.size() > kWorkers / 2);
  CHECK(ages.size() == kWorkers);
}

TEST_CASE("workers that were started together are not probed together") {
  config::PoolSpec spec = spec_of_many();
  spec.probes.live.tcp = "127.0.0.1:1";
  spec.probes.live.period = Duration::seconds(10);
  CalmWorld world(spec);
  world.run_until(world.now() + Duration::seconds(30));
  std::uint32_t most = 0, all = 0;
  for (const auto& [tenth, probes] : world.probes_in) {
    most = std::max(most, probes);
    all += probes;
  }
  CHECK(all >= 2 * kWorkers);
  CHECK(all <= 4 * kWorkers);
  CHECK(most <= 6);  // of 100 tenths of a second that a period has
}
