// Selectors: "web" a pool, "web/3" a worker of it, "web*" the pools that match; none: all pools.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mtd::supervisor {

struct SelectedPool {
  std::string pool;
  std::vector<std::uint32_t> slots;  // empty: the whole pool; sorted
  [[nodiscard]] bool whole() const { return slots.empty(); }
  bool operator==(const SelectedPool&) const = default;
};

struct NoMatch {
  std::string selector;
  bool worker = false;  // the pool exists, the worker does not
};

using Selection = std::variant<std::vector<SelectedPool>, NoMatch>;

// `pools`: sorted names. `has_slot`: does the pool have this worker? A pool that is named as a
// whole and by some of its workers is selected as a whole. The result is in the order of `pools`.
[[nodiscard]] Selection select(
    const std::vector<std::string>& selectors, const std::vector<std::string>& pools,
    const std::function<bool(std::string_view, std::uint32_t)>& has_slot);

}  // namespace mtd::supervisor
