// The flat form of what outlives the supervisor: fixed records, each written twice in turns with a
// sequence number and a checksum. Half a record after a kill -9 is normal: the other copy is used.
// Pure; the bytes may be damaged or hostile.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mtd::supervisor {

inline constexpr std::size_t kRecordCopyBytes = 128;
inline constexpr std::size_t kRecordBytes = 2 * kRecordCopyBytes;
inline constexpr std::uint32_t kStateVersion = 1;

struct DaemonRecord {
  std::uint64_t config_revision = 0;
  std::uint32_t next_pool_id = 1;
  bool operator==(const DaemonRecord&) const = default;
};
struct PoolRecord {
  std::uint32_t id = 0;
  std::string name;
  std::optional<std::uint32_t> want;
  bool stopped = false, frozen = false;
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0;
  std::uint64_t revision = 0;
  std::uint32_t stopped_by = 0;  // uid + 1 of who stopped it, 0: not known
  bool operator==(const PoolRecord&) const = default;
};
struct SlotRecord {
  std::uint32_t pool = 0, slot = 0;
  std::uint64_t incarnation = 0, restarts = 0, recycled = 0;
  bool held = false;
  std::uint64_t ready_incarnation = 0;  // the newest that was ready
  std::uint64_t tasks = 0;              // it reported
  bool operator==(const SlotRecord&) const = default;
};
struct FreeRecord {
  bool operator==(const FreeRecord&) const = default;
};
using StateRecord = std::variant<FreeRecord, DaemonRecord, PoolRecord, SlotRecord>;

using RecordCopy = std::array<char, kRecordCopyBytes>;
[[nodiscard]] RecordCopy encode_record(const StateRecord& record, std::uint64_t sequence);

struct DecodedCopy {
  StateRecord record;
  std::uint64_t sequence = 0;
};
// Nothing: damaged, never written, or of another version.
[[nodiscard]] std::optional<DecodedCopy> decode_copy(std::string_view bytes);
// The newer valid copy of each record; damaged ones are left out as FreeRecord.
[[nodiscard]] std::vector<DecodedCopy> decode_records(std::string_view bytes);

}  // namespace mtd::supervisor
