#include <nlohmann/json.hpp>

#include "config/keys.h"
#include "config/resolve.h"

namespace mtd::config {
namespace {

class Fnv1a {
 public:
  void add(std::string_view text) {
    for (const char c : text)
      mix(static_cast<unsigned char>(c));
    mix(0xFF);  // not in UTF-8: keeps "a" "b" apart from "ab"
  }
  [[nodiscard]] std::uint64_t value() const { return value_; }

 private:
  void mix(unsigned char byte) {
    value_ ^= byte;
    value_ *= 0x100000001B3ULL;
  }
  std::uint64_t value_ = 0xCBF29CE484222325ULL;
};

}  // namespace

std::uint64_t fingerprint(const PoolSpec& spec) {
  Fnv1a hash;
  for (const PoolKey& key : pool_keys()) {
    if (key.info.apply != Apply::rolling || key.get == nullptr) continue;
    const nlohmann::json value = key.get(spec, key.info);
    if (value.is_null()) continue;  // a key that is new in this version changes nothing by itself
    hash.add(key.info.path);
    hash.add(value.dump());
  }
  hash.add(spec.executable);
  return hash.value();
}

}  // namespace mtd::config
