// The flat form of what outlives the supervisor: a header, then places of two copies each, which
// are written in turns. Pure; the bytes may be damaged or hostile.
//
// A copy is checksum, number of the transaction that wrote it, kind, size of its payload, payload.
// A transaction becomes true as a whole when the daemon's record is written with its number: of
// every other place the newest copy of that transaction or an earlier one counts. So half a
// transaction after a kill -9 is none, and half a copy is none either: both are normal.
//
// Versions: a reader takes as much of a payload as it knows. What an older writer did not have gets
// its default, what a newer one appended is passed over, and a kind that is not known is left out.
// A member may be appended to a record, never moved, removed or reused; kVersion then grows by one.
// The header says how long a copy is, so that a newer version may lengthen it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/supervisor/model/memory.h"

namespace mtd::supervisor {

inline constexpr std::uint32_t kStateVersion = 3;
inline constexpr std::size_t kStateHeaderBytes = 64;
inline constexpr std::size_t kRecordCopyBytes = 256;
inline constexpr std::size_t kRecordBytes = 2 * kRecordCopyBytes;
inline constexpr std::size_t kMaxRecordCopyBytes = 4096;
// A slot beyond it is not believed: slots are kept in a row.
inline constexpr std::uint32_t kMaxStateSlots = 1 << 20;
inline constexpr std::size_t kCrashesARecord = 8, kExitsARecord = 3;
// Of a worker's own words so many bytes are kept; what older versions kept is still read.
inline constexpr std::size_t kMaxStoredStatus = 64, kMaxReadStatus = 112;

// What the keeper told about an end beyond what the model keeps.
struct ExitFacts {
  std::uint64_t incarnation = 0;
  std::int64_t at_realtime_ns = 0;
  std::int64_t user_cpu_us = 0, system_cpu_us = 0, max_rss_kib = 0;
  bool operator==(const ExitFacts&) const = default;
};

// How far mtd itself has been asked to end.
enum class Ending : std::uint8_t { no, gently, at_once };

// Its copy's number is that of the last transaction that counts.
struct DaemonRecord {
  std::uint64_t config_revision = 0;
  std::uint32_t next_pool_id = 1;
  Ending ending = Ending::no;
  std::uint32_t attempts = 0;      // lives that began with this state and did not come to serve
  std::uint64_t event_number = 0;  // of the newest event that counts
  std::uint32_t places = 0;        // in the file
  bool reloading = false;          // the files are being looked at
  std::uint8_t exit_code = 0;      // what mtd is to end with
  bool operator==(const DaemonRecord&) const = default;
};
struct PoolRecord {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t revision = 0;
  std::uint32_t stopped_by = 0;  // uid + 1 of who stopped it, 0: not known
  bool removing = false;         // it left the configuration
  model::PoolMemory memory;      // without slots; of the crashes how many and where they begin
  std::uint64_t crashes_begin = 0;
  std::uint32_t crashes = 0;
  bool operator==(const PoolRecord&) const = default;
};
// Entries first…first + size of the pool's crash window.
struct CrashRecord {
  std::uint32_t pool = 0, chunk = 0;
  std::uint64_t first = 0;
  std::vector<model::CrashWindow::Entry> entries;  // at most kCrashesARecord
  bool operator==(const CrashRecord&) const = default;
};
struct SlotRecord {
  std::uint32_t pool = 0, slot = 0;
  model::SlotMemory memory;  // without processes and exits
  bool operator==(const SlotRecord&) const = default;
};
struct ProcessRecord {
  std::uint32_t pool = 0, slot = 0;
  model::Process process;
  std::string status;  // its own words, at most kMaxStoredStatus bytes of them
  bool operator==(const ProcessRecord&) const = default;
};
// Ends of a slot's processes, numbered over its whole life.
struct ExitsRecord {
  std::uint32_t pool = 0, slot = 0, chunk = 0;
  std::uint64_t first = 0;
  struct End {
    model::ExitRecord exit;
    ExitFacts facts;
    bool operator==(const End&) const = default;
  };
  std::vector<End> ends;  // at most kExitsARecord
  bool operator==(const ExitsRecord&) const = default;
};
// What a pool has besides the configuration in force, and how a roll-out goes: the specs themselves
// are in older_specs.h, found by their fingerprints.
struct ChangeRecord {
  struct Known {
    std::uint64_t number = 0;  // 0: none
    std::uint64_t fingerprint = 0;
    bool operator==(const Known&) const = default;
  };
  std::uint32_t pool = 0;
  std::uint64_t newest = 0;  // the highest number of a revision so far
  Known previous, failed;
  std::uint32_t failed_slot = 0;
  model::ExitRecord failed_exit;
  bool paused = false, back = false, settling = false;
  bool held_back = false;
  std::optional<model::StopManner> stop_due;
  std::optional<bool> enabled;  // as a person has said, in place of the configuration
  bool operator==(const ChangeRecord&) const = default;
};
struct FreeRecord {
  bool operator==(const FreeRecord&) const = default;
};
using StateRecord = std::variant<FreeRecord, DaemonRecord, PoolRecord, SlotRecord, ProcessRecord,
                                 ExitsRecord, CrashRecord, ChangeRecord>;

using RecordCopy = std::array<char, kRecordCopyBytes>;
[[nodiscard]] RecordCopy encode_record(const StateRecord& record, std::uint64_t transaction);
[[nodiscard]] std::string encode_header();

struct DecodedCopy {
  StateRecord record;
  std::uint64_t transaction = 0;
  bool known = true;  // false: intact, and of a kind that only a newer version knows
};
// Nothing: damaged or never written.
[[nodiscard]] std::optional<DecodedCopy> decode_copy(std::string_view bytes);

struct DecodedPlace {
  StateRecord record;        // FreeRecord where there is nothing
  int copy = 0;              // which of the two it is
  bool stale_other = false;  // the other one belongs to a transaction that does not count
};
struct DecodedState {
  std::vector<DecodedPlace> places;
  std::uint64_t transaction = 0;
  std::size_t copy_bytes = kRecordCopyBytes;
  std::uint32_t version = 0;
  std::vector<std::string> damage;  // what was wrong, for people; at most 8
  std::uint64_t damaged_places = 0;
};
[[nodiscard]] DecodedState decode_state(std::string_view bytes);

}  // namespace mtd::supervisor
