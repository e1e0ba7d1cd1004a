// StateStore: the supervisor's memory of what outlives it, in a memory file that the keeper holds.
// One small write per change. It never overrules the keeper's LIST about which processes exist;
// damage is left out, never fatal.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/supervisor/state_records.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxStateRecords = 65'536;

class StateStore {
 public:
  struct Content {
    DaemonRecord daemon;
    std::map<std::string, PoolRecord> pools;
    std::map<std::uint32_t, std::map<std::uint32_t, SlotRecord>> slots;  // by pool id, slot
  };

  [[nodiscard]] static Result<StateStore> create();
  // The file an earlier life wrote; `content` gets what was readable.
  [[nodiscard]] static Result<StateStore> adopt(UniqueFd file, Content& content);

  [[nodiscard]] int fd() const { return file_.get(); }
  void put(const DaemonRecord& record);
  void put(const PoolRecord& record);
  void put(const SlotRecord& record);
  void forget_pool(std::uint32_t pool);

 private:
  struct Place {
    std::uint32_t index = 0;
    std::uint64_t sequence = 0;
  };
  explicit StateStore(UniqueFd file) : file_(std::move(file)) {}
  void index(const DecodedCopy& copy, std::uint32_t index, Content& content);
  [[nodiscard]] Place* claim(std::uint64_t key);
  void write(Place& place, const StateRecord& record);

  UniqueFd file_;
  std::unordered_map<std::uint64_t, Place> places_;
  std::vector<Place> free_;
  std::uint32_t next_index_ = 0;
};

}  // namespace mtd::supervisor
