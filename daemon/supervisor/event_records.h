// The flat form of the event ring: a header, then a ring of records of different lengths, each
// beginning at a multiple of kEventAlign. Pure; the bytes may be damaged or hostile: what is wrong
// is passed over, and of what is left the last numbers without a gap count.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mtd::supervisor {

inline constexpr std::uint32_t kEventsVersion = 1;
inline constexpr std::size_t kEventsHeaderBytes = 64;
inline constexpr std::size_t kEventRingBytes = 4 << 20;
inline constexpr std::size_t kEventAlign = 64;
inline constexpr std::size_t kMaxStoredEventBytes = 10 * 1024;

struct StoredEvent {
  std::uint64_t number = 0;
  std::string pool, worker, text;
  bool operator==(const StoredEvent&) const = default;
};

[[nodiscard]] std::string encode_events_header(std::uint64_t epoch);
// Padded to a multiple of kEventAlign; empty when it is too long to be kept.
[[nodiscard]] std::string encode_event(const StoredEvent& event);

struct DecodedEvents {
  bool is_whole = false;  // the header is sound; without it nothing counts
  std::uint64_t epoch = 0;
  std::vector<StoredEvent> events;  // in order, without a gap
  std::vector<std::size_t> stale;   // where in the ring one is that never became true
  std::size_t end = 0;              // where in the ring the next one goes
};
// Those beyond `last` never became true.
[[nodiscard]] DecodedEvents decode_events(std::string_view bytes,
                                          std::optional<std::uint64_t> last);

}  // namespace mtd::supervisor
