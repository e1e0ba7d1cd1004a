#include "daemon/supervisor/model/budget.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace mtd::model {

std::vector<std::uint32_t> divide(std::uint64_t capacity, const std::vector<Pool::Share>& shares) {
  std::vector<std::uint32_t> granted;
  std::uint64_t used = 0;
  for (const Pool::Share& share : shares) {
    granted.push_back(std::max(share.floor, share.has));
    used += granted.back();
  }
  std::uint64_t left = capacity - std::min(capacity, used);
  using Place = std::pair<std::uint32_t, std::size_t>;  // beyond its floor, index
  std::priority_queue<Place, std::vector<Place>, std::greater<>> waiting;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (granted[i] < shares[i].needs) waiting.emplace(granted[i] - shares[i].floor, i);
  }
  for (; left > 0 && !waiting.empty(); --left) {
    const auto [beyond, index] = waiting.top();
    waiting.pop();
    if (++granted[index] < shares[index].needs) waiting.emplace(beyond + 1, index);
  }
  return granted;
}

}  // namespace mtd::model
