// Any bytes as a configuration: strict parsing, the key table, merging, encode and decode must
// neither crash nor lose anything. No file is read: the text goes through the same steps as one
// from a file.
#include <cstdlib>

#include "config/document.h"
#include "config/loader.h"
#include "config/resolve.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mtd::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Problems problems;
  const std::uint32_t file = problems.add_file("fuzz.json");
  auto root = parse_document(text, file, problems);
  if (!root) {
    if (!problems.any()) std::abort();  // a refusal without a reason
    return 0;
  }
  if (const Node* pools = root->member("pools");
      pools != nullptr && pools->as<Object>() != nullptr) {
    for (const Node& pool : pools->as<Object>()->members) {
      if (pool.as<Object>() == nullptr) continue;
      Configuration configuration;
      Problems of_pool;
      for (const std::string& name : problems.files())
        static_cast<void>(of_pool.add_file(name));
      configuration.pools.push_back(resolve_pool(pool, {}, of_pool, configuration.files));
      if (of_pool.any()) continue;
      configuration.pools.front().name = "web";
      const auto again = decode(encode(configuration));
      if (!again || encode(*again) != encode(configuration)) std::abort();
    }
  }
  static_cast<void>(decode(text));
  Node copy = *root;
  static_cast<void>(merge(copy, *root));
  return 0;
}
