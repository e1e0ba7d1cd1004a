// StateStore: the supervisor's memory of what outlives it, in a memory file that the keeper holds.
// put() and forget() gather a transaction; commit() makes it true, as a whole and in a few small
// writes, before anything of it is seen outside. It never overrules the keeper's LIST about which
// processes exist; damage is left out, never fatal.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/supervisor/state_records.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxStateRecords = 262'144;
inline constexpr std::size_t kMaxStateBytes =
    kStateHeaderBytes + kMaxStateRecords * 2 * kMaxRecordCopyBytes;

class StateStore {
 public:
  // What an earlier life left, put together.
  struct Slot {
    model::SlotMemory memory;  // processes oldest first, exits last first
    bool is_known = false;     // its own record was there, not only those of its processes
    std::map<std::uint64_t, std::string> statuses;  // of processes, by incarnation
    std::vector<ExitFacts> facts;                   // of the exits, in their order
  };
  struct Pool {
    PoolRecord record;  // its memory whole, but for the slots and what `changes` says
    ChangeRecord changes;
    std::map<std::uint32_t, Slot> slots;
  };
  struct Content {
    DaemonRecord daemon;
    std::map<std::string, Pool> pools;
    std::vector<std::string> damage;  // empty: all of it could be read
    bool goes_on = false;             // the same file is written on
  };

  [[nodiscard]] static Result<StateStore> create();
  // The file an earlier life wrote; `content` gets what was readable. One that is damaged or of
  // another version is not written any more: what was read is to be put into a new one.
  [[nodiscard]] static Result<StateStore> adopt(UniqueFd file, Content& content);
  // The same without the file: what these bytes say.
  static void read(std::string_view bytes, Content& content);

  [[nodiscard]] int fd() const { return file_.get(); }
  void put(const DaemonRecord& record);
  void put(const PoolRecord& record);
  void put(const CrashRecord& record);
  void put(const ChangeRecord& record);
  void put(const SlotRecord& record);
  void put(const ProcessRecord& record);
  void put(const ExitsRecord& record);
  void forget_process(std::uint32_t pool, std::uint32_t slot, std::uint64_t incarnation);
  void forget_pool(std::uint32_t pool);
  [[nodiscard]] DaemonRecord daemon() const { return daemon_; }
  // Nothing was left out for want of room.
  [[nodiscard]] bool is_complete() const { return complete_; }
  // False: nothing had changed.
  bool commit();

 private:
  struct Key {
    std::uint32_t kind = 0, pool = 0, slot = 0;
    std::uint64_t number = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Place {
    std::uint32_t index = 0;
    int copy = 0;                   // the one that counts, or is being written
    std::uint64_t transaction = 0;  // in which it was last written by us
  };
  explicit StateStore(UniqueFd file) : file_(std::move(file)) {}
  [[nodiscard]] static Key key_of(const StateRecord& record);
  void take(const DecodedState& state);
  void write(const Key& key, const StateRecord& record);
  void write(Place& place, const StateRecord& record);
  [[nodiscard]] Place* claim(const Key& key);
  void free(const Key& key);

  UniqueFd file_;
  DaemonRecord daemon_;
  std::uint64_t transaction_ = 1;  // the one being gathered
  bool dirty_ = false, complete_ = true;
  std::unordered_map<Key, Place, KeyHash> places_;
  std::vector<Place> free_;
  std::uint32_t next_index_ = 1;  // 0 is the daemon's
};

}  // namespace mtd::supervisor
