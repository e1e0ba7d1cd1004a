// Runs the simulation. Without arguments: many seeds, `--seeds N` as many. `--seed N [--workers N]
// [--events N]`: that one again. A failing run prints how to repeat it.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simulation/simulation.h"

namespace {

bool run(const mtd::test::SimulationPlan& plan, std::uint64_t& restarts) {
  const mtd::test::SimulationResult result = mtd::test::simulate(plan);
  restarts += result.restarts;
  if (result.wrong.empty()) return true;
  std::printf(
      "%s\nafter %llu events; again: simulate_model --seed %llu --workers %u --events %llu%s\n",
      result.wrong.c_str(), static_cast<unsigned long long>(result.events),
      static_cast<unsigned long long>(plan.seed), plan.workers,
      static_cast<unsigned long long>(plan.events), plan.with_twin ? " --twin 1" : "");
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  mtd::test::SimulationPlan plan;
  bool one = false;
  std::uint64_t restarts = 0, seeds = 200;
  for (int i = 1; i + 1 < argc; i += 2) {
    const unsigned long long value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) plan.seed = value, one = true;
    if (std::strcmp(argv[i], "--seeds") == 0) seeds = value;
    if (std::strcmp(argv[i], "--workers") == 0) plan.workers = static_cast<std::uint32_t>(value);
    if (std::strcmp(argv[i], "--events") == 0) plan.events = value;
  }
  for (int i = 1; i + 1 < argc; i += 2)
    plan.with_twin = plan.with_twin || std::strcmp(argv[i], "--twin") == 0;
  if (one) return run(plan, restarts) ? 0 : 1;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    plan.seed = seed;
    plan.workers = seed % 10 == 0 ? 1000 : 1 + static_cast<std::uint32_t>(seed % 17);
    plan.events = seed % 10 == 0 ? 20'000 : 5'000;
    plan.with_twin = false;
    if (!run(plan, restarts)) return 1;
    if (seed % 4 != 0 && seed > 10) continue;
    plan.with_twin = true;
    plan.events = seed % 10 == 0 ? 4'000 : 5'000;
    if (!run(plan, restarts)) return 1;
  }
  std::printf("%llu restarts\n", static_cast<unsigned long long>(restarts));
  return restarts > 5 * seeds ? 0 : 1;
}
