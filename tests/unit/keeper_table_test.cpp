// The table image: what is written is what is read, and nothing damaged is ever taken for a table.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "daemon/keeper/table_image.h"
#include "daemon/keeper/table_image_format.h"
#include "daemon/sys/spawn_spec.h"
#include "tests/support/table_of_version_1.h"

namespace mtd::keeper {
namespace {

using Bytes = std::vector<char>;

Key key(std::uint32_t number) {
  return Key{1, number, number + 100U};
}

std::unique_ptr<Keeper> sample() {
  auto keeper = std::make_unique<Keeper>();
  REQUIRE(keeper->table.map(64));
  for (std::uint32_t i = 0; i < 10; ++i) {
    const std::uint32_t index = keeper->table.add(key(i));
    Process& record = keeper->table.processes[index];
    record.message.state = i % 2 == 0 ? EntryState::running : EntryState::exited;
    record.message.wait_status = static_cast<std::int32_t>(i) << 8;
    record.message.last_sent.signal = 15;
    std::strcpy(record.message.label, ("label " + std::to_string(i)).c_str());
    if (i % 2 == 0) keeper->table.set_pid(index, static_cast<int>(1000 + i));
    if (i < 3) keeper->table.changed(index);
  }
  keeper->table.remove(keeper->table.find(key(4)));  // a hole: the copy has none
  keeper->table.unset_pid(keeper->table.find(key(8)));
  keeper->table.processes[keeper->table.find(key(8))].message.state = EntryState::exited;
  sys::SpawnSpec spec;
  spec.executable = "/bin/true";
  spec.command = {"true"};
  auto memory = sys::encode(spec);
  REQUIRE(memory);
  RevisionRecord& revision = keeper->table.revisions[3];
  revision.id = 77;
  revision.own = 2;
  revision.size = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
  REQUIRE(pread(memory->get(), keeper->table.spec_of(revision), revision.size, 0) ==
          static_cast<ssize_t>(revision.size));
  HeldRecord* const dropped = keeper->table.add_held("dropped");
  keeper->table.add_held("control")->fd = 12;
  keeper->table.remove_held(*dropped);
  keeper->role.epoch = 9;
  keeper->role.pid = 55;
  keeper->role.ready = true;
  keeper->orphans.total = 6;
  keeper->deaths.total = 3;
  keeper->pending_count = 1;
  keeper->pending[0].signal = 1;
  keeper->settings.instance = 42;
  keeper->settings.notify_socket = "/run/notify";
  std::strcpy(keeper->settings.program, "/usr/bin/mtd");
  keeper->upgrade.state.number = 4;
  return keeper;
}

Bytes image_of(const Keeper& keeper) {
  const UniqueFd file(make_image(keeper));
  REQUIRE(file);
  Bytes bytes(static_cast<std::size_t>(lseek(file.get(), 0, SEEK_END)));
  REQUIRE(pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

// The table of a copy that was read; unmapped with it, as far as a test needs it.
const char* read(const Bytes& bytes, Keeper& keeper) {
  return read_image(bytes.data(), bytes.size(), keeper);
}

// After a change that a writer of another version might have made.
void seal(Bytes& bytes, std::uint32_t version) {
  ImageHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = version;
  header.size = bytes.size();
  header.checksum = checksum(bytes.data() + sizeof header, bytes.size() - sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
}

struct Part {
  SectionHeader head;
  Bytes elements;
};

std::vector<Part> take_apart(const Bytes& bytes) {
  std::vector<Part> parts;
  for (std::size_t at = sizeof(ImageHeader); at < bytes.size();) {
    Part part;
    std::memcpy(&part.head, &bytes[at], sizeof part.head);
    at += sizeof part.head;
    const auto size = part.head.count * part.head.element_bytes;
    part.elements.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += padded(size);
    parts.push_back(std::move(part));
  }
  return parts;
}

Bytes put_together(const Bytes& original, const std::vector<Part>& parts, std::uint32_t version) {
  Bytes bytes(original.begin(), original.begin() + sizeof(ImageHeader));
  for (const Part& part : parts) {
    const char* const head = reinterpret_cast<const char*>(&part.head);
    bytes.insert(bytes.end(), head, head + sizeof part.head);
    bytes.insert(bytes.end(), part.elements.begin(), part.elements.end());
    bytes.resize(padded(bytes.size()));
  }
  const auto count = static_cast<std::uint32_t>(parts.size());
  std::memcpy(bytes.data() + offsetof(ImageHeader, sections), &count, sizeof count);
  seal(bytes, version);
  return bytes;
}

// Every element of the kind `by` bytes longer or shorter.
Bytes resized(const Bytes& original, SectionKind kind, int by, std::uint32_t version) {
  std::vector<Part> parts = take_apart(original);
  for (Part& part : parts) {
    if (part.head.kind != kind) continue;
    const std::size_t before = part.head.element_bytes;
    const auto after = static_cast<std::size_t>(static_cast<int>(before) + by);
    Bytes elements;
    for (std::uint64_t i = 0; i < part.head.count; ++i) {
      Bytes element(part.elements.begin() + static_cast<std::ptrdiff_t>(i * before),
                    part.elements.begin() + static_cast<std::ptrdiff_t>((i + 1) * before));
      element.resize(after, '\x7f');
      elements.insert(elements.end(), element.begin(), element.end());
    }
    part.head.element_bytes = static_cast<std::uint32_t>(after);
    part.elements = std::move(elements);
  }
  return put_together(original, parts, version);
}

void check_sample(const Keeper& copy) {
  const Table& table = copy.table;
  CHECK(table.used == 9);
  CHECK(table.unreaped == 3);
  CHECK(table.find(key(4)) == kNone);
  const std::uint32_t second = table.find_pid(1002);
  REQUIRE(second != kNone);
  CHECK(table.processes[second].message.key == key(2));
  CHECK(table.processes[second].dirty);
  CHECK_FALSE(table.processes[table.find(key(6))].dirty);
  const Entry& exited = table.processes[table.find(key(7))].message;
  CHECK(exited.wait_status == 7 << 8);
  CHECK(exited.last_sent.signal == 15);
  CHECK(std::string(exited.label) == "label 7");
  CHECK(table.change == 3);
  CHECK(copy.role.epoch == 9);
  CHECK(copy.role.ready);
  CHECK(copy.orphans.total == 6);
  CHECK(copy.settings.instance == 42);
}

void check_whole_sample(Keeper& copy) {
  check_sample(copy);
  CHECK(copy.deaths.total == 3);
  CHECK(copy.pending_count == 1);
  CHECK(copy.pending[0].signal == 1);
  CHECK(std::string(copy.settings.notify_socket) == "/run/notify");
  CHECK(std::string(copy.settings.program) == "/usr/bin/mtd");
  CHECK(copy.upgrade.state.number == 4);
  REQUIRE(copy.table.revision(77) != nullptr);
  CHECK(copy.table.revision(77)->own == 2);
  HeldRecord* const held = copy.table.find_held("control");
  REQUIRE(held != nullptr);
  CHECK(held->fd == 12);
}

TEST_CASE("what is written is what is read") {
  const auto keeper = sample();
  const Bytes bytes = image_of(*keeper);
  Keeper copy;
  REQUIRE(read(bytes, copy) == nullptr);
  check_whole_sample(copy);
  // and the copy's image is read the same way: nothing is lost from one upgrade to the next
  Keeper again;
  REQUIRE(read(image_of(copy), again) == nullptr);
  check_sample(again);
}

TEST_CASE("every field of the daemon comes back, and goes out again as it came") {
  const Bytes original = image_of(*sample());
  std::vector<Part> parts = take_apart(original);
  DaemonImage image;
  REQUIRE(parts[0].elements.size() == sizeof image);
  const auto fill = [&image](std::size_t from, std::size_t to, int byte) {
    std::memset(reinterpret_cast<char*>(&image) + from, byte, to - from);
  };
  std::memcpy(static_cast<void*>(&image), parts[0].elements.data(), sizeof image);
  fill(offsetof(DaemonImage, ready_fd), offsetof(DaemonImage, capacity), 0x11);
  fill(offsetof(DaemonImage, subreaper), offsetof(DaemonImage, phase) + 1, 1);
  fill(offsetof(DaemonImage, watchdog_usec), offsetof(DaemonImage, signals), 0x22);
  fill(offsetof(DaemonImage, signals), offsetof(DaemonImage, notify_socket), 0x33);
  image.pending = kPendingSignals;
  image.deaths.kept = kMaxDeaths;
  std::memcpy(parts[0].elements.data(), &image, sizeof image);
  const Bytes bytes = put_together(original, parts, kTableVersion);
  Keeper copy;
  const char* const wrong = read(bytes, copy);
  CHECK(std::string(wrong == nullptr ? "" : wrong).empty());
  CHECK(image_of(copy) == bytes);
}

TEST_CASE("what a keeper of table version 1 wrote is read whole") {
  const std::string recorded = test::table_of_version_1();
  Keeper copy;
  REQUIRE(read(Bytes(recorded.begin(), recorded.end()), copy) == nullptr);
  check_whole_sample(copy);
}

TEST_CASE("a truncated image is refused, whatever its length") {
  const Bytes bytes = image_of(*sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Keeper copy;
    CHECK(read_image(bytes.data(), size, copy) != nullptr);
  }
}

TEST_CASE("a flipped bit is refused, whichever it is") {
  Bytes bytes = image_of(*sample());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i >= 8 && i < 12) continue;  // the version has a test of its own
    const char before = bytes[i];
    bytes[i] = static_cast<char>(before ^ (1 << (i % 8)));
    Keeper copy;
    CHECK(read(bytes, copy) != nullptr);
    bytes[i] = before;
  }
}

TEST_CASE("a version is read one back and one forward, and no farther") {
  Bytes bytes = image_of(*sample());
  for (const std::uint32_t version : {0U, kTableVersion + 2, 1000U}) {
    seal(bytes, version);
    Keeper copy;
    CHECK(read(bytes, copy) != nullptr);
  }
  seal(bytes, kTableVersion + 1);
  Keeper copy;
  REQUIRE(read(bytes, copy) == nullptr);
  check_sample(copy);
}

TEST_CASE("elements that have grown are read, what is missing has its default") {
  const Bytes bytes = image_of(*sample());
  for (const SectionKind kind :
       {SectionKind::daemon, SectionKind::processes, SectionKind::revisions, SectionKind::held}) {
    Keeper grown, same;
    REQUIRE(read(resized(bytes, kind, 24, kTableVersion + 1), grown) == nullptr);
    check_sample(grown);
    CHECK(read(resized(bytes, kind, 24, kTableVersion), same) != nullptr);
  }
  // a process without what follows its entry: not dirty
  Keeper older;
  const int less = static_cast<int>(sizeof(Entry)) - static_cast<int>(sizeof(ProcessImage));
  REQUIRE(read(resized(bytes, SectionKind::processes, less, kTableVersion + 1), older) == nullptr);
  CHECK(older.table.used == 9);
  CHECK_FALSE(older.table.processes[older.table.find(key(2))].dirty);
}

TEST_CASE("a section that only a newer version knows is skipped; one too few or twice is refused") {
  const Bytes bytes = image_of(*sample());
  std::vector<Part> parts = take_apart(bytes);
  REQUIRE(parts.size() == 5);
  Part strange;
  strange.head.kind = static_cast<SectionKind>(99);
  strange.head.element_bytes = 3;
  strange.head.count = 7;
  strange.elements.assign(21, 'x');
  parts.insert(parts.begin() + 2, strange);
  Keeper newer, same;
  REQUIRE(read(put_together(bytes, parts, kTableVersion + 1), newer) == nullptr);
  check_sample(newer);
  CHECK(read(put_together(bytes, parts, kTableVersion), same) != nullptr);
  for (std::size_t i = 0; i < 5; ++i) {
    std::vector<Part> fewer = take_apart(bytes), twice = fewer;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    twice.push_back(twice[i]);
    Keeper one, two;
    CHECK(read(put_together(bytes, fewer, kTableVersion), one) != nullptr);
    CHECK(read(put_together(bytes, twice, kTableVersion), two) != nullptr);
  }
}

// With a correct checksum, as a faulty writer would make it.
TEST_CASE("what contradicts itself is refused") {
  const Bytes bytes = image_of(*sample());
  const auto refused = [&bytes](SectionKind kind, std::size_t offset, std::uint64_t value,
                                std::size_t size) {
    std::vector<Part> parts = take_apart(bytes);
    for (Part& part : parts) {
      if (part.head.kind == kind) std::memcpy(&part.elements[offset], &value, size);
    }
    Keeper copy;
    return read(put_together(bytes, parts, kTableVersion), copy) != nullptr;
  };
  const std::size_t entry = offsetof(ProcessImage, entry);
  CHECK(refused(SectionKind::daemon, offsetof(DaemonImage, capacity), 0, 4));
  CHECK(refused(SectionKind::daemon, offsetof(DaemonImage, capacity), 3, 4));
  CHECK(refused(SectionKind::daemon, offsetof(DaemonImage, capacity), UINT32_MAX, 4));
  CHECK(refused(SectionKind::daemon, offsetof(DaemonImage, pending), 17, 4));
  CHECK(refused(SectionKind::daemon, offsetof(DaemonImage, phase), 9, 1));
  CHECK(refused(SectionKind::processes, entry + offsetof(Entry, state), 4, 2));
  CHECK(refused(SectionKind::processes, entry + offsetof(Entry, pid), 0, 4));
  CHECK(refused(SectionKind::processes, entry + offsetof(Entry, pid), 1, 4));
  CHECK(refused(SectionKind::processes, entry + offsetof(Entry, pid), UINT32_MAX, 4));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, spec_at), 8, 8));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, spec_at), UINT64_MAX, 8));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, spec_bytes), 0, 4));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, spec_bytes), UINT32_MAX, 4));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, descriptors), 65, 4));
  CHECK(refused(SectionKind::revisions, offsetof(RevisionImage, own), 65, 4));
  CHECK(refused(SectionKind::held, offsetof(HeldImage, name), 0, 1));
}

TEST_CASE("only a sealed memory file is read") {
  const auto keeper = sample();
  const UniqueFd open_file(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(write_image(*keeper, open_file.get()) == 0);
  Keeper copy, other, good;
  CHECK(std::string(read_image_file(open_file.get(), copy)) == "not a sealed memory file");
  CHECK(read_image_file(-1, other) != nullptr);
  const UniqueFd sealed(make_image(*keeper));
  CHECK(read_image_file(sealed.get(), good) == nullptr);
}

// Of every name what was given with it, also after others were dropped and places used again.
TEST_CASE("held descriptors have names, places that are used again, and a limit") {
  Table table;
  REQUIRE(table.map(64));
  const auto name = [](std::uint32_t i) { return "task/1." + std::to_string(i) + ".12345678"; };
  for (std::uint32_t i = 0; i < kMaxHeld; ++i) {
    HeldRecord* const record = table.add_held(name(i).c_str());
    REQUIRE(record != nullptr);
    record->fd = static_cast<int>(i);
  }
  CHECK(table.add_held("one more") == nullptr);
  for (std::uint32_t i = 0; i < kMaxHeld; i += 2)
    table.remove_held(*table.find_held(name(i).c_str()));
  CHECK(table.held_used == kMaxHeld / 2);
  bool right = true;
  for (std::uint32_t i = 0; i < kMaxHeld; ++i) {
    const HeldRecord* const found = table.find_held(name(i).c_str());
    right = right &&
            (i % 2 == 0 ? found == nullptr : found != nullptr && found->fd == static_cast<int>(i));
  }
  CHECK(right);
  for (std::uint32_t i = 0; i < kMaxHeld / 2; ++i)
    REQUIRE(table.add_held(("again" + std::to_string(i)).c_str()) != nullptr);
  CHECK(table.add_held("one more") == nullptr);
  CHECK(table.held_high_water == kMaxHeld);
}

}  // namespace
}  // namespace mtd::keeper
