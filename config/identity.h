// Users and groups by name or number, looked up through the name service at load, never later.
// An unknown name is an error; nothing ever falls back to root or to mtd's own user.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/result.h"
#include "config/pool_spec.h"

namespace mtd::config {

struct IdentityKeys {
  std::optional<std::string> user, group;
  std::optional<std::vector<std::string>> groups;
};

struct IdentityError {
  std::string key;  // "user", "group" or "groups"
  std::string message;
};

// Who a pool with these keys runs as; mtd's own user where `user` is not given.
[[nodiscard]] std::variant<Identity, IdentityError> resolve_identity(const IdentityKeys& keys);
// mtd's own, as far as the name service knows it.
[[nodiscard]] Identity own_identity();
[[nodiscard]] Result<std::uint32_t> resolve_group(std::string_view name);

}  // namespace mtd::config
