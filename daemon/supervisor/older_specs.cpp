#include "daemon/supervisor/older_specs.h"

#include "config/loader.h"

namespace mtd::supervisor {

void OlderSpecs::add(std::string_view encoded) {
  const auto decoded = config::decode(encoded);
  if (!decoded) return;
  for (const auto& spec : decoded->pools)
    add(spec);
}

void OlderSpecs::add(const config::PoolSpec& spec) {
  specs_.push_back(std::make_shared<const config::PoolSpec>(spec));
}

std::shared_ptr<const config::PoolSpec> OlderSpecs::find(std::string_view pool,
                                                         std::uint64_t fingerprint) const {
  for (const auto& spec : specs_) {
    if (spec->name == pool && spec->spawn_fingerprint == fingerprint) return spec;
  }
  return nullptr;
}

}  // namespace mtd::supervisor
