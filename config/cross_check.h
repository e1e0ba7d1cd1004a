// What keys of a pool say to each other: a specification that is complete, and means nothing. Holds
// for one from anywhere, the file or what a former supervisor has left.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/pool_spec.h"

namespace mtd::config {

// Reads "path: message".
struct CrossError {
  std::string_view path;
  std::string message;
};
[[nodiscard]] std::vector<CrossError> cross_check(const PoolSpec& spec);

// Is it below /tmp or /var/tmp, which sandbox.private_tmp hides?
[[nodiscard]] bool is_temporary(std::string_view path);

}  // namespace mtd::config
