// State records: what was written is read back; damage is left out, never believed, never fatal.
#include <doctest/doctest.h>

#include <random>

#include "common/unique_fd.h"
#include "daemon/supervisor/state_records.h"
#include "daemon/supervisor/state_store.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/memfd.h"

using namespace mtd;
using namespace mtd::supervisor;

namespace {

PoolRecord sample_pool() {
  PoolRecord pool;
  pool.id = 7;
  pool.name = std::string(64, 'p');
  pool.want = 12;
  pool.stopped = true;
  pool.frozen = true;
  pool.restarts = 5;
  pool.recycled = 1ULL << 40;
  pool.spawn_failures = 3;
  pool.revision = 9;
  pool.stopped_by = 1001;
  return pool;
}

SlotRecord sample_slot(std::uint32_t slot) {
  SlotRecord record;
  record.pool = 7;
  record.slot = slot;
  record.incarnation = 1ULL << 50;
  record.restarts = 2;
  record.recycled = 4;
  record.held = true;
  record.ready_incarnation = 17;
  record.tasks = 99;
  return record;
}

std::string file_of(const StateRecord& record) {
  const auto first = encode_record(record, 1);
  const auto second = encode_record(record, 2);
  return std::string(first.begin(), first.end()) + std::string(second.begin(), second.end());
}

}  // namespace

TEST_CASE("every kind of record is read back as it was written") {
  DaemonRecord daemon;
  daemon.config_revision = 10;
  daemon.next_pool_id = 77;
  PoolRecord plain;
  plain.id = 1;
  plain.name = "web";
  for (const StateRecord& record :
       {StateRecord(daemon), StateRecord(sample_pool()), StateRecord(plain),
        StateRecord(sample_slot(3)), StateRecord(FreeRecord{})}) {
    const auto bytes = encode_record(record, 42);
    const auto copy = decode_copy({bytes.data(), bytes.size()});
    REQUIRE(copy);
    CHECK(copy->record == record);
    CHECK(copy->sequence == 42);
  }
}

TEST_CASE("any single flipped bit is noticed") {
  const auto bytes = encode_record(sample_pool(), 5);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    CHECK_FALSE(decode_copy({damaged.data(), damaged.size()}));
  }
}

TEST_CASE("the newer copy counts, and the older one when the newer is half written") {
  PoolRecord older = sample_pool(), newer = sample_pool();
  newer.restarts = 6;
  const auto a = encode_record(older, 1), b = encode_record(newer, 2);
  std::string file(a.begin(), a.end());
  file.append(b.begin(), b.end());
  CHECK(decode_records(file).at(0).record == StateRecord(newer));
  for (std::size_t cut = kRecordCopyBytes; cut < kRecordBytes; ++cut) {
    std::string torn = file;
    torn.replace(cut, std::string::npos, kRecordBytes - cut, '\x55');
    const auto record = decode_records(torn).at(0).record;
    CHECK((record == StateRecord(older) || record == StateRecord(newer)));
    if (cut == kRecordCopyBytes) CHECK(record == StateRecord(older));
  }
}

TEST_CASE("a file cut at any byte, or of random bytes, is read without harm") {
  const std::string file =
      file_of(sample_pool()) + file_of(sample_slot(0)) + file_of(sample_slot(1));
  for (std::size_t size = 0; size <= file.size(); ++size)
    (void)decode_records(file.substr(0, size));
  std::mt19937 random(1);
  std::string noise(4096, '\0');
  for (int round = 0; round < 50; ++round) {
    for (char& byte : noise)
      byte = static_cast<char>(random());
    for (const auto& copy : decode_records(noise)) {
      CHECK(std::holds_alternative<FreeRecord>(copy.record));
    }
  }
}

TEST_CASE("a pool's name that the name rule does not allow is not believed") {
  PoolRecord pool = sample_pool();
  pool.name = "../etc";
  const auto bytes = encode_record(pool, 1);
  CHECK_FALSE(decode_copy({bytes.data(), bytes.size()}));
}

TEST_CASE("the store gives back after adoption what was put, without what was forgotten") {
  auto store = StateStore::create();
  REQUIRE(store);
  PoolRecord other = sample_pool();
  other.id = 8;
  other.name = "other";
  DaemonRecord daemon;
  daemon.config_revision = 3;
  store->put(daemon);
  store->put(sample_pool());
  store->put(other);
  for (std::uint32_t slot = 0; slot < 10; ++slot)
    store->put(sample_slot(slot));
  auto changed = sample_slot(4);
  for (std::uint64_t tasks = 0; tasks < 5; ++tasks) {
    changed.tasks = tasks;
    store->put(changed);
  }
  store->forget_pool(8);

  StateStore::Content content;
  auto again = StateStore::adopt(sys::duplicate(store->fd()), content);
  REQUIRE(again);
  CHECK(content.daemon == daemon);
  REQUIRE(content.pools.size() == 1);
  CHECK(content.pools.at(sample_pool().name) == sample_pool());
  REQUIRE(content.slots.at(7).size() == 10);
  CHECK(content.slots.at(7).at(4) == changed);
  // A freed place is used again, and the earlier content does not shine through.
  again->put(other);
  StateStore::Content third;
  REQUIRE(StateStore::adopt(sys::duplicate(again->fd()), third));
  CHECK(third.pools.size() == 2);
  CHECK(sys::size_of(again->fd()) == sys::size_of(store->fd()));
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
