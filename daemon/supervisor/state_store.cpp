#include "daemon/supervisor/state_store.h"

#include <algorithm>
#include <string>

#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

// Keys of places_: the daemon 0, a pool its id above all slots, a slot {pool, slot + 1}.
constexpr std::uint64_t kDaemonKey = 0;

std::uint64_t slot_key(std::uint32_t pool, std::uint32_t slot) {
  return (static_cast<std::uint64_t>(pool) << 32U) | (static_cast<std::uint64_t>(slot) + 1U);
}
std::uint64_t pool_key(std::uint32_t pool) {
  return static_cast<std::uint64_t>(pool) << 32U;
}

}  // namespace

Result<StateStore> StateStore::create() {
  auto file = sys::make_memfd("mtd-state");
  if (!file) return file.error();
  return StateStore(std::move(*file));
}

Result<StateStore> StateStore::adopt(UniqueFd file, Content& content) {
  const auto bytes = sys::read_memfd(file.get(), kMaxStateRecords * kRecordBytes);
  if (!bytes) return bytes.error();
  StateStore store(std::move(file));
  const auto records = decode_records(*bytes);
  for (std::uint32_t i = 0; i < records.size(); ++i)
    store.index(records[i], i, content);
  store.next_index_ = static_cast<std::uint32_t>(records.size());
  return store;
}

void StateStore::index(const DecodedCopy& copy, std::uint32_t index, Content& content) {
  const Place place{index, copy.sequence};
  if (const auto* daemon = std::get_if<DaemonRecord>(&copy.record)) {
    places_[kDaemonKey] = place;
    content.daemon = *daemon;
  } else if (const auto* pool = std::get_if<PoolRecord>(&copy.record)) {
    places_[pool_key(pool->id)] = place;
    content.pools[pool->name] = *pool;
  } else if (const auto* slot = std::get_if<SlotRecord>(&copy.record)) {
    places_[slot_key(slot->pool, slot->slot)] = place;
    content.slots[slot->pool][slot->slot] = *slot;
  } else {
    free_.push_back(place);
  }
}

StateStore::Place* StateStore::claim(std::uint64_t key) {
  const auto known = places_.find(key);
  if (known != places_.end()) return &known->second;
  Place place;
  if (!free_.empty()) {
    place = free_.back();
    free_.pop_back();
  } else if (next_index_ < kMaxStateRecords) {
    place.index = next_index_++;
  } else {
    return nullptr;  // that slot's counters start afresh after the supervisor's death
  }
  return &places_.emplace(key, place).first->second;
}

void StateStore::write(Place& place, const StateRecord& record) {
  ++place.sequence;
  const RecordCopy bytes = encode_record(record, place.sequence);
  const std::uint64_t at = static_cast<std::uint64_t>(place.index) * kRecordBytes +
                           (place.sequence % 2) * kRecordCopyBytes;
  // Out of memory only: the older copy stays the truth.
  (void)sys::write_at(file_.get(), at, {bytes.data(), bytes.size()}).has_value();
}

void StateStore::put(const DaemonRecord& record) {
  if (Place* place = claim(kDaemonKey)) write(*place, record);
}
void StateStore::put(const PoolRecord& record) {
  if (Place* place = claim(pool_key(record.id))) write(*place, record);
}
void StateStore::put(const SlotRecord& record) {
  if (Place* place = claim(slot_key(record.pool, record.slot))) write(*place, record);
}

void StateStore::forget_pool(std::uint32_t pool) {
  for (auto at = places_.begin(); at != places_.end();) {
    if (at->first == kDaemonKey || at->first >> 32U != pool) {
      ++at;
      continue;
    }
    write(at->second, FreeRecord{});
    free_.push_back(at->second);
    at = places_.erase(at);
  }
}

}  // namespace mtd::supervisor
