// The events an earlier life left: numbers go on, what never became true is not told, damage costs
// events and nothing else.
#include <doctest/doctest.h>

#include "daemon/supervisor/event_log.h"
#include "daemon/sys/memfd.h"

using namespace mtd;
using namespace mtd::supervisor;

namespace {

StoredEvent event(std::uint64_t number, std::size_t bytes = 300) {
  return {number, "web", "web/3",
          "{\"n\":" + std::to_string(number) + std::string(bytes, ' ') + "}"};
}

std::string content_of(const EventLog& log) {
  return *sys::read_memfd(log.fd(), kEventsHeaderBytes + kEventRingBytes);
}

}  // namespace

TEST_CASE("events come back in order, up to the last that counts") {
  auto log = EventLog::create(0xabc);
  REQUIRE(log);
  for (std::uint64_t number = 1; number <= 50; ++number)
    log->append(event(number));
  DecodedEvents kept;
  auto next = EventLog::adopt(sys::duplicate(log->fd()), 48, kept);
  REQUIRE(next);
  CHECK(kept.epoch == 0xabc);
  REQUIRE(kept.events.size() == 48);
  CHECK(kept.events.front() == event(1));
  CHECK(kept.events.back() == event(48));
  // Its own 49 takes the place of the one that never was.
  next->append(event(49, 10));
  next->append(event(50, 10));
  const auto again = decode_events(content_of(*next), 50);
  REQUIRE(again.events.size() == 50);
  CHECK(again.events.back() == event(50, 10));
  CHECK(again.events[48] == event(49, 10));
}

TEST_CASE("the ring goes round: the newest are kept without a gap") {
  auto log = EventLog::create(1);
  REQUIRE(log);
  for (std::uint64_t number = 1; number <= 20'000; ++number)
    log->append(event(number, 100 + number * 37 % 900));
  const auto kept = decode_events(content_of(*log), std::nullopt);
  REQUIRE_FALSE(kept.events.empty());
  CHECK(kept.events.back().number == 20'000);
  CHECK(kept.events.size() > 5'000);
  for (std::size_t i = 1; i < kept.events.size(); ++i)
    REQUIRE(kept.events[i].number == kept.events[i - 1].number + 1);
  CHECK(sys::size_of(log->fd()) <= kEventsHeaderBytes + kEventRingBytes);
}

TEST_CASE("P16: events cut at every byte and with every bit flipped are read without harm") {
  auto log = EventLog::create(1);
  REQUIRE(log);
  for (std::uint64_t number = 1; number <= 4; ++number)
    log->append(event(number, 60));
  const std::string whole = content_of(*log);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto kept = decode_events(std::string_view(whole).substr(0, size), std::nullopt);
    for (const auto& one : kept.events)
      CHECK(one == event(one.number, 60));
  }
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto kept = decode_events(damaged, std::nullopt);
    for (const auto& one : kept.events)
      CHECK(one == event(one.number, 60));
    if (kept.is_whole) CHECK((kept.events.empty() || kept.events.size() <= 4));
  }
}

TEST_CASE("an event that is too long is not kept, and leaves a gap that is seen") {
  auto log = EventLog::create(1);
  REQUIRE(log);
  log->append(event(1));
  log->append(event(2, kMaxStoredEventBytes));
  log->append(event(3));
  const auto kept = decode_events(content_of(*log), std::nullopt);
  REQUIRE(kept.events.size() == 1);
  CHECK(kept.events[0].number == 3);
}
