#include "daemon/supervisor/event_records.h"

#include <algorithm>
#include <cstring>

#include "daemon/supervisor/record_bytes.h"

namespace mtd::supervisor {
namespace {

constexpr std::string_view kMagic = "mtdevent";
constexpr std::size_t kVersionAt = 8, kEpochAt = 16, kHeaderSumAt = 24;
// checksum | number | mark | size of the text | of the pool's name | of the worker's | those
constexpr std::size_t kNumberAt = 8, kMarkAt = 16, kTextSizeAt = 20, kPoolSizeAt = 24,
                      kWorkerSizeAt = 26, kContentAt = 32;
constexpr std::uint32_t kMark = 0x7645744d;

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

std::size_t padded(std::size_t size) {
  return (size + kEventAlign - 1) / kEventAlign * kEventAlign;
}

struct Found {
  std::uint64_t number = 0;
  std::size_t at = 0, size = 0;
};

std::optional<Found> find_at(std::string_view ring, std::size_t at) {
  if (ring.size() - at < kContentAt || number_at<std::uint32_t>(ring, at + kMarkAt) != kMark)
    return std::nullopt;
  const std::size_t size = kContentAt + number_at<std::uint32_t>(ring, at + kTextSizeAt) +
                           number_at<std::uint16_t>(ring, at + kPoolSizeAt) +
                           number_at<std::uint16_t>(ring, at + kWorkerSizeAt);
  if (size > kMaxStoredEventBytes || size > ring.size() - at) return std::nullopt;
  const auto sum = number_at<std::uint64_t>(ring, at);
  if (sum != checksum_of(ring.substr(at + kNumberAt, size - kNumberAt))) return std::nullopt;
  const auto number = number_at<std::uint64_t>(ring, at + kNumberAt);
  if (number == 0 || number == ~std::uint64_t{0}) return std::nullopt;
  return Found{number, at, size};
}

StoredEvent event_of(std::string_view ring, const Found& found) {
  StoredEvent event;
  event.number = found.number;
  const std::size_t pool = number_at<std::uint16_t>(ring, found.at + kPoolSizeAt);
  const std::size_t worker = number_at<std::uint16_t>(ring, found.at + kWorkerSizeAt);
  std::string_view rest = ring.substr(found.at + kContentAt, found.size - kContentAt);
  event.pool = rest.substr(0, pool);
  event.worker = rest.substr(pool, worker);
  event.text = rest.substr(pool + worker);
  return event;
}

}  // namespace

std::string encode_events_header(std::uint64_t epoch) {
  std::string bytes(kEventsHeaderBytes, '\0');
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  std::memcpy(bytes.data() + kVersionAt, &kEventsVersion, sizeof(kEventsVersion));
  std::memcpy(bytes.data() + kEpochAt, &epoch, sizeof(epoch));
  const std::uint64_t sum = checksum_of(std::string_view(bytes).substr(0, kHeaderSumAt));
  std::memcpy(bytes.data() + kHeaderSumAt, &sum, sizeof(sum));
  return bytes;
}

std::string encode_event(const StoredEvent& event) {
  const std::size_t size = kContentAt + event.pool.size() + event.worker.size() + event.text.size();
  if (size > kMaxStoredEventBytes) return {};
  std::string bytes(kContentAt, '\0');
  bytes.reserve(padded(size));
  const auto text = static_cast<std::uint32_t>(event.text.size());
  const auto pool = static_cast<std::uint16_t>(event.pool.size());
  const auto worker = static_cast<std::uint16_t>(event.worker.size());
  std::memcpy(bytes.data() + kNumberAt, &event.number, sizeof(event.number));
  std::memcpy(bytes.data() + kMarkAt, &kMark, sizeof(kMark));
  std::memcpy(bytes.data() + kTextSizeAt, &text, sizeof(text));
  std::memcpy(bytes.data() + kPoolSizeAt, &pool, sizeof(pool));
  std::memcpy(bytes.data() + kWorkerSizeAt, &worker, sizeof(worker));
  bytes += event.pool;
  bytes += event.worker;
  bytes += event.text;
  const std::uint64_t sum = checksum_of(std::string_view(bytes).substr(kNumberAt));
  std::memcpy(bytes.data(), &sum, sizeof(sum));
  bytes.resize(padded(size), '\0');
  return bytes;
}

DecodedEvents decode_events(std::string_view bytes, std::optional<std::uint64_t> last) {
  DecodedEvents decoded;
  if (bytes.size() < kEventsHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic ||
      number_at<std::uint64_t>(bytes, kHeaderSumAt) != checksum_of(bytes.substr(0, kHeaderSumAt)))
    return decoded;
  decoded.is_whole = true;
  decoded.epoch = number_at<std::uint64_t>(bytes, kEpochAt);
  const std::string_view ring = bytes.substr(kEventsHeaderBytes);
  std::vector<Found> found;
  for (std::size_t at = 0; at < ring.size();) {
    const auto event = find_at(ring, at);
    if (event && (!last || event->number <= *last)) {
      found.push_back(*event);
    } else if (event) {
      decoded.stale.push_back(at);
    }
    at += event ? padded(event->size) : kEventAlign;
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.number < b.number; });
  std::size_t first = found.size();
  while (first > 0 && (first == found.size() || found[first - 1].number + 1 == found[first].number))
    --first;
  for (std::size_t i = first; i < found.size(); ++i)
    decoded.events.push_back(event_of(ring, found[i]));
  if (!found.empty()) decoded.end = found.back().at + padded(found.back().size);
  return decoded;
}

}  // namespace mtd::supervisor
