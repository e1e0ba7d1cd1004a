// Entropy: as many numbers as a turn needs out of the one it was given (splitmix64: Steele, Lea,
// Flood, "Fast splittable pseudorandom number generators", 2014).
#pragma once

#include <cstdint>

namespace mtd {

class Entropy {
 public:
  explicit Entropy(std::uint64_t seed) : state_(seed) {}

  [[nodiscard]] std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // In [0, 1).
  [[nodiscard]] double fraction() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace mtd
