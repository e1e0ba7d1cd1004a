// What a configuration asks for that this process may not do. mtd and `mtctl config check` may run
// as different users, and rights can be given later: these are warnings, the kernel has the say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::config {

struct Privileges {
  std::uint64_t capabilities = 0;  // effective; bit n: capability n
  std::vector<int> cpus;           // allowed; empty: not known
};
// By /proc/self/status. What it does not tell counts as given.
[[nodiscard]] Privileges own_privileges();

struct PrivilegeProblem {
  std::string_view path;  // of the key
  std::string message;
};
[[nodiscard]] std::vector<PrivilegeProblem> privilege_problems(const PoolSpec& spec,
                                                               const Privileges& privileges);

}  // namespace mtd::config
