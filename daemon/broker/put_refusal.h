// Why a put was refused, as its client is told. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/broker/model/actions.h"

namespace mtd::broker {

struct PutRefusal {
  std::string_view error;
  std::string message;
  std::optional<std::int64_t> retry_ms;  // when it may be worth while again
};
[[nodiscard]] PutRefusal refusal_of(task::Refusal why, const std::string& pool);

}  // namespace mtd::broker
