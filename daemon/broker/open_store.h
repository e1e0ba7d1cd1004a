// The broker's store, as it finds it in its directory.
#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "daemon/broker/store/store.h"

namespace mtd::broker {

struct OpenedStore {
  std::unique_ptr<task::TaskStore> store;
  std::string warning;  // what an operator should know; empty: nothing
};
[[nodiscard]] Result<OpenedStore> open_store(const std::string& directory);

}  // namespace mtd::broker
