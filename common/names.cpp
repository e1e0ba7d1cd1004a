#include "common/names.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace mtd {
namespace {

constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Longer words are compared by their beginning only: nobody mistypes that much, and cost stays
// small.
constexpr std::size_t kComparedLength = 128;

}  // namespace

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength && is_alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  const std::size_t cut = (a.size() > kComparedLength ? a.size() - kComparedLength : 0) +
                          (b.size() > kComparedLength ? b.size() - kComparedLength : 0);
  a = a.substr(0, kComparedLength);
  b = b.substr(0, kComparedLength);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()] + cut;
}

}  // namespace mtd
