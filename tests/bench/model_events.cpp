// How many events a second the pool model takes on one core: a thousand workers crash and come
// back.
#include <chrono>
#include <cstdio>

#include "daemon/supervisor/model/pool.h"

int main() {
  using namespace mtd;
  using namespace mtd::model;
  config::PoolSpec spec;
  spec.workers = 1000;
  spec.backoff.initial = Duration();
  spec.backoff.max = Duration();
  spec.crash_limit.count = 1'000'000'000;
  Pool pool(spec, 1, Instant::at_ns(1));
  std::int64_t now = 1;
  std::uint64_t events = 0;
  std::vector<std::uint64_t> incarnations(spec.workers, 1);
  const auto step = [&](const Event& event) {
    ++events;
    now += 1000;
    return pool.step(event, Instant::at_ns(now), events).size();
  };
  std::size_t actions = step(Tick{});
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < 500; ++round) {
    for (std::uint32_t slot = 0; slot < spec.workers; ++slot) {
      const WorkerKey key{slot, incarnations[slot]++};
      actions += step(Spawned{key, 100});
      actions += step(Executed{key});
      Exited exit;
      exit.key = key;
      exit.wait_status = 9;
      actions += step(exit);
      actions += step(TreeEmpty{key});
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%.0f events/s (%zu actions)\n", static_cast<double>(events) / took.count(), actions);
  return 0;
}
