#include "daemon/supervisor/state_records.h"

#include <algorithm>
#include <cstring>

#include "common/names.h"

namespace mtd::supervisor {
namespace {

enum class Kind : std::uint32_t { free = 1, daemon = 2, pool = 3, slot = 4 };

// checksum | version | sequence | kind | payload
constexpr std::size_t kChecksumAt = 0, kVersionAt = 8, kKindAt = 12, kSequenceAt = 16,
                      kPayloadAt = 24;

// FNV-1a: against half-written records, not against an enemy (only mtd can write here).
std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char byte : bytes)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  return hash;
}

class Writer {
 public:
  explicit Writer(RecordCopy& bytes) : bytes_(bytes) {}
  template <class T>
  void put(T value) {
    std::memcpy(bytes_.data() + at_, &value, sizeof(value));
    at_ += sizeof(value);
  }
  void put_name(std::string_view name) {
    std::memcpy(bytes_.data() + at_, name.data(), std::min(name.size(), kMaxNameLength));
    at_ += kMaxNameLength;
  }

 private:
  RecordCopy& bytes_;
  std::size_t at_ = kPayloadAt;
};

class Reader {
 public:
  Reader(std::string_view bytes, std::size_t at) : bytes_(bytes), at_(at) {}
  template <class T>
  T get() {
    T value{};
    std::memcpy(&value, bytes_.data() + at_, sizeof(value));
    at_ += sizeof(value);
    return value;
  }
  std::string get_name() {
    const std::string_view field = bytes_.substr(at_, kMaxNameLength);
    at_ += kMaxNameLength;
    return std::string(field.substr(0, std::min(field.find('\0'), field.size())));
  }

 private:
  std::string_view bytes_;
  std::size_t at_;
};

constexpr std::uint32_t kHasWant = 1, kStopped = 2, kFrozen = 4;

Kind put(Writer&, const FreeRecord&) {
  return Kind::free;
}
Kind put(Writer& to, const DaemonRecord& record) {
  to.put(record.config_revision);
  to.put(record.next_pool_id);
  return Kind::daemon;
}
Kind put(Writer& to, const PoolRecord& record) {
  to.put_name(record.name);  // 64 of the 104 bytes; the numbers below fill the rest exactly
  to.put(record.id);
  const std::uint32_t flags = (record.want ? kHasWant : 0U) | (record.stopped ? kStopped : 0U) |
                              (record.frozen ? kFrozen : 0U);
  to.put(static_cast<std::uint32_t>(flags | (record.want.value_or(0) << 3U)));
  to.put(record.stopped_by);
  to.put(static_cast<std::uint32_t>(record.spawn_failures));
  to.put(record.restarts);
  to.put(record.recycled);
  to.put(record.revision);
  return Kind::pool;
}
Kind put(Writer& to, const SlotRecord& record) {
  to.put(record.pool);
  to.put(record.slot);
  to.put(record.incarnation);
  to.put(record.restarts);
  to.put(record.recycled);
  to.put(static_cast<std::uint64_t>(record.held ? 1 : 0));
  to.put(record.ready_incarnation);
  to.put(record.tasks);
  return Kind::slot;
}

PoolRecord get_pool(Reader& from) {
  PoolRecord record;
  record.name = from.get_name();
  record.id = from.get<std::uint32_t>();
  const auto flags = from.get<std::uint32_t>();
  if ((flags & kHasWant) != 0) record.want = flags >> 3U;
  record.stopped = (flags & kStopped) != 0;
  record.frozen = (flags & kFrozen) != 0;
  record.stopped_by = from.get<std::uint32_t>();
  record.spawn_failures = from.get<std::uint32_t>();
  record.restarts = from.get<std::uint64_t>();
  record.recycled = from.get<std::uint64_t>();
  record.revision = from.get<std::uint64_t>();
  return record;
}

SlotRecord get_slot(Reader& from) {
  SlotRecord record;
  record.pool = from.get<std::uint32_t>();
  record.slot = from.get<std::uint32_t>();
  record.incarnation = from.get<std::uint64_t>();
  record.restarts = from.get<std::uint64_t>();
  record.recycled = from.get<std::uint64_t>();
  record.held = from.get<std::uint64_t>() != 0;
  record.ready_incarnation = from.get<std::uint64_t>();
  record.tasks = from.get<std::uint64_t>();
  return record;
}

}  // namespace

RecordCopy encode_record(const StateRecord& record, std::uint64_t sequence) {
  RecordCopy bytes{};
  Writer writer(bytes);
  const Kind kind = std::visit([&](const auto& value) { return put(writer, value); }, record);
  std::memcpy(bytes.data() + kVersionAt, &kStateVersion, sizeof(kStateVersion));
  std::memcpy(bytes.data() + kKindAt, &kind, sizeof(kind));
  std::memcpy(bytes.data() + kSequenceAt, &sequence, sizeof(sequence));
  const std::uint64_t sum = checksum({bytes.data() + kVersionAt, kRecordCopyBytes - kVersionAt});
  std::memcpy(bytes.data() + kChecksumAt, &sum, sizeof(sum));
  return bytes;
}

std::optional<DecodedCopy> decode_copy(std::string_view bytes) {
  if (bytes.size() < kRecordCopyBytes) return std::nullopt;
  bytes = bytes.substr(0, kRecordCopyBytes);
  Reader header(bytes, kChecksumAt);
  if (header.get<std::uint64_t>() != checksum(bytes.substr(kVersionAt))) return std::nullopt;
  if (header.get<std::uint32_t>() != kStateVersion) return std::nullopt;
  const auto kind = header.get<std::uint32_t>();
  DecodedCopy copy;
  copy.sequence = header.get<std::uint64_t>();
  Reader payload(bytes, kPayloadAt);
  if (kind == static_cast<std::uint32_t>(Kind::free)) {
    copy.record = FreeRecord{};
  } else if (kind == static_cast<std::uint32_t>(Kind::daemon)) {
    DaemonRecord record;
    record.config_revision = payload.get<std::uint64_t>();
    record.next_pool_id = payload.get<std::uint32_t>();
    copy.record = record;
  } else if (kind == static_cast<std::uint32_t>(Kind::pool)) {
    PoolRecord record = get_pool(payload);
    if (!is_valid_name(record.name)) return std::nullopt;
    copy.record = std::move(record);
  } else if (kind == static_cast<std::uint32_t>(Kind::slot)) {
    copy.record = get_slot(payload);
  } else {
    return std::nullopt;
  }
  return copy;
}

std::vector<DecodedCopy> decode_records(std::string_view bytes) {
  std::vector<DecodedCopy> records;
  for (std::size_t at = 0; at < bytes.size(); at += kRecordBytes) {
    auto first = decode_copy(bytes.substr(at));
    auto second = bytes.size() > at + kRecordCopyBytes
                      ? decode_copy(bytes.substr(at + kRecordCopyBytes))
                      : std::nullopt;
    if (first && second && second->sequence > first->sequence) first = std::move(second);
    if (!first) first = std::move(second);
    records.push_back(first ? std::move(*first) : DecodedCopy{});
  }
  return records;
}

}  // namespace mtd::supervisor
