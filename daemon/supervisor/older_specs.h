// OlderSpecs: the specs of pools besides those of the configuration in force, as an earlier life
// left them with the keeper: what an undo leads to, and what did not come up. Found by pool and
// fingerprint; the state says which is which.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::supervisor {

// What the keeper holds of them: configurations of which only the pools count.
inline constexpr const char* kHeldPrevious = "config-previous";
inline constexpr const char* kHeldFailed = "config-failed";

class OlderSpecs {
 public:
  // Of an encoded configuration; one that cannot be read is left out.
  void add(std::string_view encoded);
  void add(const config::PoolSpec& spec);
  // nullptr: not known.
  [[nodiscard]] std::shared_ptr<const config::PoolSpec> find(std::string_view pool,
                                                             std::uint64_t fingerprint) const;

 private:
  std::vector<std::shared_ptr<const config::PoolSpec>> specs_;
};

}  // namespace mtd::supervisor
