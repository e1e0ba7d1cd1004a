// A pool of many workers in a simulated world with a simulated clock and random faults: crashes,
// storms, hung stops, refusals, stale facts, commands at any moment. Everything is drawn from one
// seed: the same seed is the same run.
#pragma once

#include <cstdint>
#include <string>

namespace mtd::test {

struct SimulationPlan {
  std::uint64_t seed = 1;
  std::uint32_t workers = 1000;
  std::uint64_t events = 100'000;
  // A twin is told the same, and is now and then replaced by a new life with its memory: it must do
  // the same all the time.
  bool with_twin = false;
  bool check_everything = true;  // every invariant after every so many events, and at the end
};

struct SimulationResult {
  std::uint64_t events = 0;
  std::uint64_t restarts = 0;  // of the twin
  std::string wrong;           // empty: nothing
};

[[nodiscard]] SimulationResult simulate(const SimulationPlan& plan);

}  // namespace mtd::test
