// Any bytes as the state and the events an earlier supervisor left: they are read without harm, and
// what was read once is the same when written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "daemon/supervisor/event_records.h"
#include "daemon/supervisor/record_bytes.h"
#include "daemon/supervisor/state_store.h"

namespace {

using namespace mtd::supervisor;

void expect(bool condition) {
  if (!condition) std::abort();
}

// The bytes as one copy with the right checksum: beyond it is what a fuzzer cannot guess.
void as_copy(std::string_view bytes) {
  std::string copy(bytes.substr(0, kRecordCopyBytes));
  copy.resize(kRecordCopyBytes, '\0');
  const std::uint64_t sum = checksum_of(std::string_view(copy).substr(sizeof(std::uint64_t)));
  copy.replace(0, sizeof sum, reinterpret_cast<const char*>(&sum), sizeof sum);
  const auto decoded = decode_copy(copy);
  if (!decoded || !decoded->known) return;
  const auto again = encode_record(decoded->record, decoded->transaction);
  const auto twice = decode_copy({again.data(), again.size()});
  expect(twice && twice->record == decoded->record);
}

// A whole state of such copies.
std::string as_state(std::string_view bytes) {
  std::string state = encode_header();
  while (!bytes.empty()) {
    std::string copy(bytes.substr(0, kRecordCopyBytes));
    bytes.remove_prefix(copy.size());
    copy.resize(kRecordCopyBytes, '\0');
    const std::uint64_t sum = checksum_of(std::string_view(copy).substr(sizeof(std::uint64_t)));
    copy.replace(0, sizeof sum, reinterpret_cast<const char*>(&sum), sizeof sum);
    state += copy;
  }
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  as_copy(bytes);
  for (const std::string& state :
       {std::string(bytes), encode_header() + std::string(bytes), as_state(bytes)}) {
    StateStore::Content content;
    StateStore::read(state, content);
    for (const auto& [name, pool] : content.pools) {
      expect(pool.record.id != 0 && name == pool.record.name);
      for (const auto& [number, slot] : pool.slots) {
        expect(number < kMaxStateSlots);
        expect(slot.memory.slot.exits.size() <= mtd::model::kMaxExitRecords);
      }
    }
  }
  for (const std::string& events :
       {std::string(bytes), encode_events_header(7) + std::string(bytes)}) {
    std::uint64_t number = 0;
    for (const auto& event : decode_events(events, std::nullopt).events) {
      expect(number == 0 || event.number == number + 1);
      number = event.number;
      expect(!encode_event(event).empty());
    }
  }
  return 0;
}
