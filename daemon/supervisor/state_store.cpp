#include "daemon/supervisor/state_store.h"

#include <algorithm>
#include <utility>

#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

constexpr int kWriteTries = 3;

std::uint64_t offset_of(std::uint32_t index, int copy) {
  return kStateHeaderBytes + std::uint64_t{index} * kRecordBytes +
         static_cast<std::uint64_t>(copy) * kRecordCopyBytes;
}

// Puts the records of one file together. Whatever contradicts itself loses.
class Gatherer {
 public:
  explicit Gatherer(StateStore::Content& content) : content_(content) {}

  void add(const StateRecord& record) {
    std::visit([this](const auto& each) { take(each); }, record);
  }
  void finish() {
    for (auto& [id, pool] : pools_) {
      if (pool.record.id == 0) continue;  // its name is lost; labels tell whose the processes are
      window(pool.record, crashes_[id]);
      for (auto& [number, slot] : pool.slots)
        order(slot, exits_[{id, number}]);
      // Of two of one name the younger is right: ids are never used twice.
      content_.pools[pool.record.name] = std::move(pool);
    }
  }

 private:
  using SlotKey = std::pair<std::uint32_t, std::uint32_t>;
  using Ends = std::map<std::uint64_t, ExitsRecord::End>;

  void take(const FreeRecord&) {}
  void take(const DaemonRecord& record) { content_.daemon = record; }
  void take(const PoolRecord& record) { pools_[record.id].record = record; }
  void take(const ChangeRecord& record) { pools_[record.pool].changes = record; }
  void take(const CrashRecord& record) {
    for (std::size_t i = 0; i < record.entries.size(); ++i)
      crashes_[record.pool][record.first + i] = record.entries[i];
  }
  void take(const SlotRecord& record) {
    auto& slot = pools_[record.pool].slots[record.slot];
    auto processes = std::move(slot.memory.slot.processes);
    slot.memory = record.memory;
    slot.memory.slot.processes = std::move(processes);
    slot.is_known = true;
  }
  void take(const ProcessRecord& record) {
    auto& slot = pools_[record.pool].slots[record.slot];
    slot.memory.slot.processes.push_back(record.process);
    if (!record.status.empty()) slot.statuses[record.process.incarnation] = record.status;
  }
  void take(const ExitsRecord& record) {
    for (std::size_t i = 0; i < record.ends.size(); ++i)
      exits_[{record.pool, record.slot}][record.first + i] = record.ends[i];
  }

  static void window(PoolRecord& record,
                     const std::map<std::uint64_t, model::CrashWindow::Entry>& known) {
    std::deque<model::CrashWindow::Entry> entries;
    for (std::uint32_t i = 0; i < record.crashes; ++i) {
      const auto entry = known.find(record.crashes_begin + i);
      if (entry != known.end()) entries.push_back(entry->second);
    }
    record.memory.crashes = model::CrashWindow::of(record.crashes_begin, entries);
  }
  static void order(StateStore::Slot& slot, const Ends& ends) {
    auto& memory = slot.memory.slot;
    std::sort(memory.processes.begin(), memory.processes.end(),
              [](const auto& a, const auto& b) { return a.incarnation < b.incarnation; });
    for (const auto& process : memory.processes)
      memory.incarnation = std::max(memory.incarnation, process.incarnation);
    // The last of them, last first; numbers at or beyond exits_told are of before a wrap.
    for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
      if (end->first >= memory.exits_told || memory.exits.size() == model::kMaxExitRecords)
        continue;
      memory.exits.push_back(end->second.exit);
      slot.facts.push_back(end->second.facts);
    }
  }

  StateStore::Content& content_;
  std::map<std::uint32_t, StateStore::Pool> pools_;
  std::map<std::uint32_t, std::map<std::uint64_t, model::CrashWindow::Entry>> crashes_;
  std::map<SlotKey, Ends> exits_;
};

void gather(const DecodedState& state, StateStore::Content& content) {
  Gatherer gatherer(content);
  for (const auto& place : state.places)
    gatherer.add(place.record);
  gatherer.finish();
  content.damage = state.damage;
}

}  // namespace

std::size_t StateStore::KeyHash::operator()(const Key& key) const {
  std::uint64_t hash = (std::uint64_t{key.pool} << 32U | key.slot) * 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 29U) ^ (key.number << 3U) ^ key.kind) * 0xff51afd7ed558ccdULL;
  return hash ^ (hash >> 32U);
}

StateStore::Key StateStore::key_of(const StateRecord& record) {
  struct Keys {
    Key operator()(const FreeRecord&) const { return {}; }
    Key operator()(const DaemonRecord&) const { return {}; }
    Key operator()(const PoolRecord& r) const { return {0, r.id, 0, 0}; }
    Key operator()(const ChangeRecord& r) const { return {0, r.pool, 0, 0}; }
    Key operator()(const CrashRecord& r) const { return {0, r.pool, 0, r.chunk}; }
    Key operator()(const SlotRecord& r) const { return {0, r.pool, r.slot, 0}; }
    Key operator()(const ProcessRecord& r) const {
      return {0, r.pool, r.slot, r.process.incarnation};
    }
    Key operator()(const ExitsRecord& r) const { return {0, r.pool, r.slot, r.chunk}; }
  };
  Key key = std::visit(Keys{}, record);
  key.kind = static_cast<std::uint32_t>(record.index());
  return key;
}

Result<StateStore> StateStore::create() {
  auto file = sys::make_memfd("mtd-state");
  if (!file) return file.error();
  if (auto written = sys::write_at(file->get(), 0, encode_header()); !written)
    return written.error();
  return StateStore(std::move(*file));
}

void StateStore::read(std::string_view bytes, Content& content) {
  gather(decode_state(bytes), content);
}

Result<StateStore> StateStore::adopt(UniqueFd file, Content& content) {
  const auto bytes = sys::read_memfd(file.get(), kMaxStateBytes);
  if (!bytes) return bytes.error();
  const DecodedState state = decode_state(*bytes);
  gather(state, content);
  const bool goes_on = state.damage.empty() && state.version == kStateVersion &&
                       state.copy_bytes == kRecordCopyBytes;
  content.goes_on = goes_on;
  if (!goes_on) return create();
  StateStore store(std::move(file));
  store.daemon_ = content.daemon;
  store.take(state);
  return store;
}

void StateStore::take(const DecodedState& state) {
  transaction_ = state.transaction + 1;
  next_index_ = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(state.places.size()));
  const std::string blank(kRecordCopyBytes, '\0');
  for (std::uint32_t i = 0; i < state.places.size(); ++i) {
    const auto& place = state.places[i];
    // What an unfinished transaction wrote must not become true with the next one.
    if (place.stale_other)
      (void)sys::write_at(file_.get(), offset_of(i, 1 - place.copy), blank).has_value();
    if (i == 0) {
      places_[key_of(daemon_)] = {0, place.copy, 0};
    } else if (std::holds_alternative<FreeRecord>(place.record)) {
      free_.push_back({i, place.copy, 0});
    } else if (const auto [at, fresh] =
                   places_.try_emplace(key_of(place.record), Place{i, place.copy, 0});
               !fresh) {
      Place twice{i, place.copy, 0};  // cannot be; the first one counts
      write(twice, FreeRecord{});
      free_.push_back(twice);
    }
  }
}

StateStore::Place* StateStore::claim(const Key& key) {
  const auto known = places_.find(key);
  if (known != places_.end()) return &known->second;
  Place place;
  if (key == key_of(daemon_)) {
    place.index = 0;
  } else if (!free_.empty()) {
    place = free_.back();
    free_.pop_back();
  } else if (next_index_ < kMaxStateRecords) {
    place.index = next_index_++;
  } else {
    complete_ = false;  // that much starts afresh after the supervisor's death
    return nullptr;
  }
  return &places_.emplace(key, place).first->second;
}

void StateStore::write(Place& place, const StateRecord& record) {
  if (place.transaction != transaction_) {
    place.copy = 1 - place.copy;
    place.transaction = transaction_;
  }
  dirty_ = true;
  const RecordCopy bytes = encode_record(record, transaction_);
  // Out of memory only, which may have passed at the next try; else the older copy stays the truth.
  for (int i = 0; i < kWriteTries; ++i) {
    if (sys::write_at(file_.get(), offset_of(place.index, place.copy),
                      {bytes.data(), bytes.size()}))
      return;
  }
  complete_ = false;
}

void StateStore::write(const Key& key, const StateRecord& record) {
  if (Place* place = claim(key)) write(*place, record);
}

void StateStore::put(const DaemonRecord& record) {
  if (record == daemon_) return;
  daemon_ = record;
  dirty_ = true;
}
void StateStore::put(const PoolRecord& record) {
  write(key_of(record), record);
}
void StateStore::put(const CrashRecord& record) {
  write(key_of(record), record);
}
void StateStore::put(const ChangeRecord& record) {
  write(key_of(record), record);
}
void StateStore::put(const SlotRecord& record) {
  write(key_of(record), record);
}
void StateStore::put(const ProcessRecord& record) {
  write(key_of(record), record);
}
void StateStore::put(const ExitsRecord& record) {
  write(key_of(record), record);
}

void StateStore::free(const Key& key) {
  const auto known = places_.find(key);
  if (known == places_.end()) return;
  write(known->second, FreeRecord{});
  free_.push_back(known->second);
  places_.erase(known);
}

void StateStore::forget_process(std::uint32_t pool, std::uint32_t slot, std::uint64_t incarnation) {
  ProcessRecord record;
  record.pool = pool;
  record.slot = slot;
  record.process.incarnation = incarnation;
  free(key_of(record));
}

void StateStore::forget_pool(std::uint32_t pool) {
  std::vector<Key> gone;
  for (const auto& entry : places_) {
    const Key& key = entry.first;
    if (key.pool == pool && !(key == key_of(daemon_))) gone.push_back(key);
  }
  for (const Key& key : gone)
    free(key);
}

bool StateStore::commit() {
  if (!dirty_) return false;
  daemon_.places = next_index_;
  write(key_of(daemon_), daemon_);
  ++transaction_;
  dirty_ = false;
  return true;
}

}  // namespace mtd::supervisor
