// State records: what was written is read back; a transaction counts as a whole or not at all;
// damage is left out, never believed, never fatal; older and newer versions are understood.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "common/unique_fd.h"
#include "daemon/supervisor/record_bytes.h"
#include "daemon/supervisor/state_store.h"
#include "daemon/supervisor/worker_label.h"
#include "tests/support/state_of_version_2.h"
#include "tests/support/state_samples.h"

using namespace mtd;
using namespace mtd::supervisor;
using namespace mtd::test;

namespace {

constexpr std::size_t kTransactionAt = 8, kKindAt = 16, kSizeAt = 18, kPayloadAt = 24;

// A copy with something changed whose checksum is right again: what another version might write.
template <class Change>
std::string forged(const StateRecord& record, Change&& change,
                   std::size_t bytes = kRecordCopyBytes) {
  const auto copy = encode_record(record, 5);
  std::string text(copy.begin(), copy.end());
  text.resize(bytes, '\0');
  change(text);
  const std::uint64_t sum = checksum_of(std::string_view(text).substr(kTransactionAt));
  std::memcpy(text.data(), &sum, sizeof sum);
  return text;
}

void set_u16(std::string& text, std::size_t at, std::uint16_t value) {
  std::memcpy(text.data() + at, &value, sizeof value);
}

StateStore::Content content_of(std::string_view bytes) {
  StateStore::Content content;
  StateStore::read(bytes, content);
  return content;
}

StateStore::Content content_of(const StateStore& store) {
  return content_of(*sys::read_memfd(store.fd(), kMaxStateBytes));
}

const std::vector<model::ProcessState>& all_states() {
  using namespace model;
  const Instant at = Instant::at_ns(777);
  static const std::vector<ProcessState> states{
      Requested{},
      Requested{ExitCause::stop},
      Launching{at},
      Warming{at},
      Up{at},
      Unready{at},
      Draining{ExitCause::reload, Instant::never()},
      model::Stopping{ExitCause::scale_down, at, 2, false},
      model::Stopping{ExitCause::stop, Instant::never(), 0, true},
      Killing{ExitCause::stop_timeout, at},
      Stuck{ExitCause::restart},
      Emptying{EmptyingPhase::waiting, ExitCause::exit, at},
      Emptying{EmptyingPhase::killed, ExitCause::core, at},
      Emptying{EmptyingPhase::stuck, ExitCause::oom, Instant::never()},
      Emptying{EmptyingPhase::kept, ExitCause::signal, Instant::never()}};
  return states;
}

std::vector<StateRecord> all_records() {
  DaemonRecord daemon;
  daemon.config_revision = 10;
  daemon.next_pool_id = 77;
  daemon.ending = Ending::at_once;
  daemon.attempts = 3;
  daemon.event_number = 1ULL << 60U;
  daemon.places = 12;
  daemon.reloading = true;
  PoolRecord plain;
  plain.id = 1;
  plain.name = std::string(64, 'p');
  std::vector<StateRecord> records{
      daemon,
      plain,
      sample_pool(),
      sample_slot(3),
      sample_exits(3, 6, 3),
      sample_changes(),
      CrashRecord{7, 2, 16, {{Instant::at_ns(1), 2}, {Instant::at_ns(3), 1}}},
      FreeRecord{}};
  for (const auto& state : all_states())
    records.push_back(sample_process(4, 9, state));
  auto longest = sample_process(1, ~0ULL, all_states()[7]);
  longest.status = std::string(kMaxStoredStatus, '\xff');
  records.push_back(longest);
  CrashRecord crashes{~0U, ~0U, ~0ULL, {}};
  crashes.entries.resize(kCrashesARecord, {Instant::never(), ~0U});
  records.push_back(crashes);
  for (model::Breaker breaker : {model::Breaker(model::BreakerClosed{}),
                                 model::Breaker(model::BreakerOpen{Instant::at_ns(8)}),
                                 model::Breaker(model::BreakerTripped{})}) {
    auto pool = sample_pool(7, std::string(64, 'x'));
    pool.memory.breaker = breaker;
    pool.crashes = 1280;
    records.push_back(pool);
  }
  return records;
}

}  // namespace

TEST_CASE("every kind of record is read back as it was written, and fits") {
  for (const StateRecord& record : all_records()) {
    const auto bytes = encode_record(record, 42);
    std::uint16_t size = 0;
    std::memcpy(&size, bytes.data() + kSizeAt, sizeof size);
    CHECK(size < kRecordCopyBytes - kPayloadAt);
    const auto copy = decode_copy({bytes.data(), bytes.size()});
    REQUIRE(copy);
    CHECK((copy->record == record));
    CHECK(copy->transaction == 42);
  }
}

TEST_CASE("any single flipped bit of a copy is noticed") {
  for (const StateRecord& record : {StateRecord(sample_pool()), StateRecord(sample_slot(1))}) {
    const auto bytes = encode_record(record, 5);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      auto damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      CHECK_FALSE(decode_copy({damaged.data(), damaged.size()}));
    }
  }
}

TEST_CASE("P16: every bit of a small state flipped loses nothing or says so") {
  const std::string whole = sample_state();
  const auto before = content_of(whole);
  REQUIRE(before.damage.empty());
  REQUIRE(before.pools.at("web").slots.at(0).memory.slot.exits.size() == 4);
  std::size_t told = 0;
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto content = content_of(damaged);
    if (!content.damage.empty()) {
      ++told;
      continue;
    }
    // The other copy of the same record took its place: all that is there is of this state.
    REQUIRE(content.pools.count("web") == 1);
    CHECK(content.pools.at("web").slots.size() == 2);
    CHECK(content.pools.at("web").slots.at(1).memory.slot.processes.size() == 1);
  }
  CHECK(told >= 8 * 24);  // the header at least
}

TEST_CASE("P16: a state cut at every byte is read without harm, and a cut is told") {
  const std::string whole = sample_state();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto content = content_of(std::string_view(whole).substr(0, size));
    // Cut within the blank end of the last copy nothing is lost.
    const bool lost = content.pools.count("web") == 0 ||
                      content.pools.at("web").slots.size() != 2 ||
                      content.pools.at("web").slots.at(0).memory.slot.exits.size() != 4;
    if (lost) CHECK_FALSE(content.damage.empty());
  }
}

TEST_CASE("P16: noise is not believed") {
  std::mt19937 random(1);
  std::string noise(4096, '\0');
  for (int round = 0; round < 50; ++round) {
    for (char& byte : noise)
      byte = static_cast<char>(random());
    const std::string headed = encode_header() + noise;
    CHECK(content_of(noise).pools.empty());
    CHECK(content_of(headed).pools.empty());
    CHECK_FALSE(content_of(headed).damage.empty());
  }
}

TEST_CASE("P16: hostile values with the right checksum are not believed") {
  const auto refused = [](const StateRecord& record) {
    const auto bytes = encode_record(record, 1);
    return !decode_copy({bytes.data(), bytes.size()});
  };
  for (const char* name : {"../etc", "", "a/b", "a\nb", "\x1b[2J", "-x", "a b"})
    CHECK(refused(sample_pool(7, name)));
  CHECK(refused(sample_pool(0)));
  auto crashes = sample_pool();
  crashes.crashes = ~0U;
  CHECK(refused(crashes));
  CHECK(refused(sample_slot(~0U)));
  CHECK(refused(sample_slot(kMaxStateSlots)));
  CHECK(refused(sample_process(~0U, 1, model::Requested{})));
  CHECK(refused(sample_process(0, 0, model::Requested{})));
  auto negative = sample_process(0, 1, model::Requested{});
  negative.process.pid = -1;
  CHECK(refused(negative));
  // Every byte of the payload set to every value: read or refused, never more.
  for (const StateRecord& record : all_records()) {
    for (std::size_t at = kPayloadAt; at < kRecordCopyBytes; ++at) {
      for (int value = 0; value < 256; value += 15) {
        const auto copy = decode_copy(
            forged(record, [&](std::string& text) { text[at] = static_cast<char>(value); }));
        if (copy) CHECK((copy->record.index() == record.index()));
      }
    }
  }
}

TEST_CASE("older and newer versions: sizes by record, kinds that are not known") {
  const StateRecord slot = sample_slot(3);
  // An older writer knew less of it: every length of the payload is read.
  for (std::uint16_t size = 0; size < 100; ++size) {
    const auto copy =
        decode_copy(forged(slot, [&](std::string& text) { set_u16(text, kSizeAt, size); }));
    REQUIRE(copy);
    if (size >= 8) CHECK(std::get<SlotRecord>(copy->record).slot == 3);
  }
  // A newer one appends to it, in longer copies.
  const auto longer = decode_copy(forged(
      slot,
      [&](std::string& text) {
        set_u16(text, kSizeAt, 400);
        text[300] = 'x';
      },
      512));
  REQUIRE(longer);
  CHECK((longer->record == slot));
  // A kind of a newer one is left out; the size may not point beyond the copy.
  const auto unknown =
      decode_copy(forged(slot, [](std::string& text) { set_u16(text, kKindAt, 900); }));
  REQUIRE(unknown);
  CHECK_FALSE(unknown->known);
  CHECK_FALSE(decode_copy(forged(slot, [](std::string& text) { set_u16(text, kSizeAt, 60000); })));
}

TEST_CASE("what the version before wrote is known whole, and written anew") {
  auto memory = sys::make_memfd("test");
  REQUIRE(memory);
  REQUIRE(sys::write_at(memory->get(), 0, state_of_version_2()));
  StateStore::Content content;
  const auto store = StateStore::adopt(std::move(*memory), content);
  REQUIRE(store);
  CHECK(content.damage.empty());
  CHECK_FALSE(content.goes_on);
  CHECK(content.daemon.config_revision == 5);
  CHECK(content.daemon.next_pool_id == 8);
  CHECK(content.daemon.event_number == 1234);
  const StateStore::Pool& web = content.pools.at("web");
  const auto expected = sample_pool();
  CHECK(web.record.id == 7);
  CHECK(web.record.revision == expected.revision);
  CHECK(web.record.stopped_by == expected.stopped_by);
  CHECK(web.record.memory.want == expected.memory.want);
  CHECK((web.record.memory.breaker == expected.memory.breaker));
  CHECK(web.record.memory.frozen_since == expected.memory.frozen_since);
  CHECK(web.record.memory.restarts == expected.memory.restarts);
  CHECK(web.record.memory.recycled == expected.memory.recycled);
  CHECK(web.record.memory.shown == expected.memory.shown);
  CHECK(web.changes == ChangeRecord{});
  const model::Slot& first = web.slots.at(0).memory.slot;
  CHECK((first.rest == sample_slot(0).memory.slot.rest));
  CHECK(first.crash_streak == 6);
  CHECK(first.restarts == 2);
  REQUIRE(first.processes.size() == 1);
  CHECK((first.processes[0].state == model::ProcessState(model::Up{Instant::at_ns(50)})));
  CHECK(first.processes[0].pid == 4711);
  CHECK(web.slots.at(0).statuses.at(1) == "serving 3 clients");
  CHECK(first.exits.size() == 4);
  CHECK(first.exits.front().cause == model::ExitCause::oom);
  const auto& stopping =
      std::get<model::Stopping>(web.slots.at(1).memory.slot.processes.at(0).state);
  CHECK(stopping.cause == model::ExitCause::stop);
  CHECK(stopping.deadline == Instant::at_ns(60));
}

TEST_CASE("a newer version's file is read, and not written on") {
  // Copies of 512 bytes, version 3, and a record of a kind that is not known here.
  std::string file = encode_header();
  const std::uint32_t version = 3, copy_bytes = 512;
  std::memcpy(file.data() + 8, &version, sizeof version);
  std::memcpy(file.data() + 12, &copy_bytes, sizeof copy_bytes);
  const std::uint64_t sum = checksum_of(std::string_view(file).substr(0, 16));
  std::memcpy(file.data() + 16, &sum, sizeof sum);
  const auto nothing = [](std::string&) {};
  DaemonRecord daemon;
  daemon.config_revision = 4;
  for (const StateRecord& record :
       {StateRecord(daemon), StateRecord(sample_pool()), StateRecord(sample_slot(0))})
    file += forged(record, nothing, 512) + std::string(512, '\0');
  file += forged(
              FreeRecord{}, [](std::string& text) { set_u16(text, kKindAt, 900); }, 512) +
          std::string(512, '\0');
  auto memory = sys::make_memfd("test");
  REQUIRE(memory);
  REQUIRE(sys::write_at(memory->get(), 0, file));
  StateStore::Content content;
  const auto store = StateStore::adopt(sys::duplicate(memory->get()), content);
  REQUIRE(store);
  CHECK(content.damage.empty());
  CHECK_FALSE(content.goes_on);
  CHECK(content.daemon.config_revision == 4);
  CHECK(content.pools.at("web").slots.at(0).memory.slot.restarts == 2);
  CHECK(*sys::read_memfd(memory->get(), kMaxStateBytes) == file);
}

TEST_CASE("a transaction counts as a whole or not at all") {
  auto store = StateStore::create();
  REQUIRE(store);
  auto pool = sample_pool();
  auto slot = sample_slot(0);
  DaemonRecord daemon;
  for (std::uint64_t turn = 1; turn <= 20; ++turn) {
    pool.memory.restarts = turn;
    slot.memory.slot.restarts = turn;
    daemon.event_number = turn;
    store->put(pool);
    store->put(slot);
    store->put(slot);  // twice in one transaction is once
    store->put(sample_process(0, turn, model::Up{Instant::at_ns(1)}));
    if (turn > 1) store->forget_process(7, 0, turn - 1);
    const auto before = content_of(*store);
    if (turn > 1) {
      CHECK(before.pools.at("web").record.memory.restarts == turn - 1);
      const auto& kept = before.pools.at("web").slots.at(0).memory.slot;
      CHECK(kept.restarts == turn - 1);
      REQUIRE(kept.processes.size() == 1);
      CHECK(kept.processes[0].incarnation == turn - 1);
      CHECK(before.daemon.event_number == turn - 1);
      CHECK(before.damage.empty());
    }
    store->put(daemon);
    CHECK(store->commit());
    CHECK_FALSE(store->commit());
    const auto after = content_of(*store);
    CHECK(after.pools.at("web").record.memory.restarts == turn);
    CHECK(after.pools.at("web").slots.at(0).memory.slot.processes.size() == 1);
    CHECK(after.daemon.event_number == turn);
  }
  CHECK(sys::size_of(store->fd()) < kStateHeaderBytes + 8 * kRecordBytes);  // places are used again
}

TEST_CASE("what an unfinished transaction wrote does not become true in the next life") {
  auto store = StateStore::create();
  REQUIRE(store);
  auto pool = sample_pool();
  store->put(pool);
  store->put(sample_slot(0));
  store->commit();
  pool.memory.restarts = 1000;
  store->put(pool);
  store->put(sample_slot(1));  // and here it is killed
  StateStore::Content content;
  auto next = StateStore::adopt(sys::duplicate(store->fd()), content);
  REQUIRE(next);
  REQUIRE(content.goes_on);
  CHECK(content.pools.at("web").record.memory.restarts == 5);
  CHECK(content.pools.at("web").slots.size() == 1);
  DaemonRecord daemon;
  daemon.config_revision = 9;
  next->put(daemon);
  next->commit();
  const auto after = content_of(*next);
  CHECK(after.pools.at("web").record.memory.restarts == 5);
  CHECK(after.pools.at("web").slots.size() == 1);
  CHECK(after.daemon.config_revision == 9);
}

TEST_CASE("pools are forgotten with all that is theirs, and their places are used again") {
  auto store = StateStore::create();
  REQUIRE(store);
  store->put(sample_pool(8, "other"));
  for (std::uint32_t number = 0; number < 10; ++number)
    store->put(sample_slot(number, 8));
  store->put(sample_exits(2, 0, 2, 8));
  store->put(sample_pool());
  store->commit();
  const auto size = sys::size_of(store->fd());
  store->forget_pool(8);
  store->commit();
  CHECK(content_of(*store).pools.size() == 1);
  store->put(sample_pool(9, "third"));
  for (std::uint32_t number = 0; number < 10; ++number)
    store->put(sample_slot(number, 9));
  store->commit();
  const auto content = content_of(*store);
  CHECK(content.pools.size() == 2);
  CHECK(content.pools.at("third").slots.size() == 10);
  CHECK(content.pools.at("third").slots.at(2).memory.slot.exits.empty());
  CHECK(sys::size_of(store->fd()) == size);
}

TEST_CASE("the ends of a slot come back newest first, those of before a wrap are left out") {
  auto store = StateStore::create();
  REQUIRE(store);
  auto slot = sample_slot(0);
  slot.memory.slot.exits_told = 11;
  store->put(sample_pool());
  store->put(slot);
  for (const std::uint64_t first : {3U, 6U, 9U})
    store->put(sample_exits(0, first, first == 9 ? 2 : 3));
  store->commit();
  const auto content = content_of(*store);
  const auto& kept = content.pools.at("web").slots.at(0);
  REQUIRE(kept.memory.slot.exits.size() == 8);
  CHECK(kept.memory.slot.exits.front().incarnation == 11);
  CHECK(kept.memory.slot.exits.back().incarnation == 4);
  CHECK(kept.facts.front().max_rss_kib == 4096);
}

TEST_CASE("labels survive the way through the keeper") {
  WorkerLabel label;
  label.pool = std::string(64, 'x');
  label.fingerprint = ~0ULL;
  label.task_limit = 1000;
  label.revision = 3;
  const std::string bytes = encode(label);
  REQUIRE(bytes.size() == keeper::kLabelBytes);
  char raw[keeper::kLabelBytes];
  bytes.copy(raw, sizeof(raw));
  CHECK(decode_label(raw) == label);
}
