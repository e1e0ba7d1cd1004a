// One pool of the file to a PoolSpec: keys are read and checked, strings expanded, users, programs
// and limits looked up, and members checked against each other.
#pragma once

#include <string>
#include <vector>

#include "config/environment.h"
#include "config/node.h"
#include "config/pool_spec.h"
#include "config/problems.h"

namespace mtd::config {

struct ResolveOptions {
  bool check_ownership = true;  // of env_file
  Variables start;              // environment mtd was started with
};

// What is wrong goes to `problems`; the spec may then be used for nothing. Files that were read, or
// were to be, are added to `files`.
[[nodiscard]] PoolSpec resolve_pool(const Node& pool, const ResolveOptions& options,
                                    Problems& problems, std::vector<std::string>& files);

// Stable over runs and versions of the compiler: FNV-1a over the canonical form of all rolling
// keys.
[[nodiscard]] std::uint64_t fingerprint(const PoolSpec& spec);

}  // namespace mtd::config
