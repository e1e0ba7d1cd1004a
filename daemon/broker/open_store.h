// The broker's store, as it finds it in its directory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"
#include "daemon/broker/store/store.h"
#include "daemon/sys/claim_file.h"

namespace mtd::broker {

struct StorePlace {
  std::string directory;
  std::uint64_t quota = 4ULL << 30U;  // bytes
  std::string life;                   // of mtd: in another one its workers are others
  std::string files;                  // of large results, and how many bytes they have
  std::shared_ptr<const std::atomic<std::uint64_t>> file_bytes;
};
struct OpenedStore {
  std::unique_ptr<task::TaskStore> store;
  task::StoreContents contents;  // what it has loaded
  sys::ClaimFile claims;
  std::string warning;  // what an operator should know; empty: nothing
};
[[nodiscard]] Result<OpenedStore> open_store(StorePlace place);

}  // namespace mtd::broker
