// The one rule for names of pools, used wherever a name comes in: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}.
#pragma once

#include <string_view>

namespace mtd {

inline constexpr std::size_t kMaxNameLength = 64;

[[nodiscard]] bool is_valid_name(std::string_view name);
// Levenshtein distance based: the candidate closest to `word`, or empty when none is close.
template <class Range>
[[nodiscard]] std::string_view closest_name(std::string_view word, const Range& candidates);
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string_view closest_name(std::string_view word, const Range& candidates) {
  std::string_view best;
  std::size_t best_distance = word.size() / 3 + 2;
  for (const auto& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace mtd
