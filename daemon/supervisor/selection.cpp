#include "daemon/supervisor/selection.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "common/glob.h"

namespace mtd::supervisor {
namespace {

std::optional<std::uint32_t> parse_slot(std::string_view text) {
  std::uint32_t slot = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), slot);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty())
    return std::nullopt;
  return slot;
}

struct Chosen {
  bool whole = false;
  std::set<std::uint32_t> slots;
};

}  // namespace

Selection select(const std::vector<std::string>& selectors, const std::vector<std::string>& pools,
                 const std::function<bool(std::string_view, std::uint32_t)>& has_slot) {
  std::map<std::string, Chosen> chosen;
  for (const auto& selector : selectors) {
    const auto slash = selector.find('/');
    const std::string_view pattern = std::string_view(selector).substr(0, slash);
    std::optional<std::uint32_t> slot;
    if (slash != std::string::npos) {
      slot = parse_slot(std::string_view(selector).substr(slash + 1));
      if (!slot) return NoMatch{selector, true};
    }
    bool any_pool = false, any = false;
    for (const auto& pool : pools) {
      if (!glob_matches(pattern, pool)) continue;
      any_pool = true;
      if (!slot) {
        chosen[pool].whole = any = true;
      } else if (has_slot(pool, *slot)) {
        chosen[pool].slots.insert(*slot);
        any = true;
      }
    }
    if (!any) return NoMatch{selector, any_pool};
  }
  std::vector<SelectedPool> selected;
  if (selectors.empty()) {
    for (const auto& pool : pools)
      selected.push_back({pool, {}});
    return selected;
  }
  for (const auto& [pool, what] : chosen) {
    SelectedPool each{pool, {}};
    if (!what.whole) each.slots.assign(what.slots.begin(), what.slots.end());
    selected.push_back(std::move(each));
  }
  return selected;
}

}  // namespace mtd::supervisor
