// Reading an image: everything is checked before it is believed.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <initializer_list>

#include "daemon/keeper/table_image.h"
#include "daemon/keeper/table_image_format.h"

namespace mtd::keeper {
namespace {

struct Section {
  const char* bytes = nullptr;
  std::uint32_t element_bytes = 0;
  std::uint64_t count = 0;

  template <class T>
  [[nodiscard]] T at(std::uint64_t i) const {
    T value;
    std::memcpy(static_cast<void*>(&value), bytes + i * element_bytes,
                element_bytes < sizeof(T) ? element_bytes : sizeof(T));
    return value;
  }
};

struct Image {
  bool same_version = false;
  Section daemon, processes, revisions, specs, held;
};

Section* section_of(Image& image, SectionKind kind, std::uint64_t& size) {
  switch (kind) {
    case SectionKind::daemon:
      size = sizeof(DaemonImage);
      return &image.daemon;
    case SectionKind::processes:
      size = sizeof(ProcessImage);
      return &image.processes;
    case SectionKind::revisions:
      size = sizeof(RevisionImage);
      return &image.revisions;
    case SectionKind::specs:
      size = 1;
      return &image.specs;
    case SectionKind::held:
      size = sizeof(HeldImage);
      return &image.held;
  }
  return nullptr;
}

const char* find_sections(const char* bytes, std::uint64_t size, std::uint32_t count,
                          Image& image) {
  std::uint64_t at = sizeof(ImageHeader);
  for (std::uint32_t i = 0; i < count; ++i) {
    SectionHeader head;
    if (size - at < sizeof head) return "a section is missing";
    std::memcpy(&head, bytes + at, sizeof head);
    at += sizeof head;
    if (head.element_bytes == 0 || head.count > size / head.element_bytes ||
        padded(head.count * head.element_bytes) > size - at) {
      return "a section is longer than the table";
    }
    std::uint64_t known = 0;
    Section* section = section_of(image, head.kind, known);
    if (section == nullptr && image.same_version) return "an unknown section";
    if (section != nullptr) {
      if (section->bytes != nullptr) return "a section is there twice";
      if ((image.same_version || known == 1) && head.element_bytes != known)
        return "an element of a wrong size";
      *section = Section{bytes + at, head.element_bytes, head.count};
    }
    at += padded(head.count * head.element_bytes);
  }
  if (at != size) return "something follows the last section";
  for (const Section* one :
       {&image.daemon, &image.processes, &image.revisions, &image.specs, &image.held}) {
    if (one->bytes == nullptr) return "a section is missing";
  }
  return image.daemon.count == 1 ? nullptr : "not one daemon";
}

const char* read_daemon(const DaemonImage& image, Keeper& keeper) {
  if (image.capacity == 0 || image.capacity > kMaxProcesses) return "a wrong capacity";
  if (image.pending > kPendingSignals) return "too many signals";
  if (image.phase > static_cast<std::uint8_t>(UpgradePhase::returning)) return "a wrong phase";
  if (image.deaths.kept > kMaxDeaths) return "too many deaths";
  if (image.program[kPathBytes - 1] != '\0' ||
      image.notify_socket[sizeof image.notify_socket - 1] != '\0') {
    return "a path without an end";
  }
  each_field(image, keeper, [](const auto& from, auto& to) { copy_field(to, from); });
  if (!keeper.table.map(image.capacity)) return "no memory for it";
  if (image.has_notify_socket != 0) {
    std::memcpy(keeper.table.texts, image.notify_socket, sizeof image.notify_socket);
    keeper.settings.notify_socket = keeper.table.texts;
  }
  return nullptr;
}

// Adopts one process after the other; those that were to be told are told.
const char* read_processes(const Section& section, Table& table) {
  for (std::uint64_t i = 0; i < section.count; ++i) {
    const auto image = section.at<ProcessImage>(i);
    const EntryState state = image.entry.state;
    if (state > EntryState::exited || image.stage > Stage::cgroup_limits)
      return "a process in no state";
    const bool lives = state == EntryState::starting || state == EntryState::running;
    if (lives && (image.entry.pid <= 1 || table.find_pid(image.entry.pid) != kNone))
      return "a process with a wrong pid";
    if (table.find(image.entry.key) != kNone) return "a process that is there twice";
    const std::uint32_t index = table.add(image.entry.key);
    if (index == kNone) return "more processes than there is room for";
    Process& record = table.processes[index];
    const Header header = record.message.header;
    record.message = image.entry;
    record.message.header.type = header.type;
    record.message.header.version = header.version;
    record.message.header.size = header.size;
    record.killed_for = image.killed_for;
    record.note.stage = image.stage;
    if (lives) table.set_pid(index, image.entry.pid);
    if (image.dirty != 0) table.touch(index);
  }
  return nullptr;
}

const char* read_revisions(const Section& section, const Section& specs, Table& table) {
  if (section.count > kMaxRevisions) return "too many revisions";
  for (std::uint64_t i = 0; i < section.count; ++i) {
    const auto image = section.at<RevisionImage>(i);
    if (image.spec_bytes == 0 || image.spec_bytes > kMaxSpecBytes || image.spec_at % 8 != 0 ||
        image.spec_at > specs.count || image.spec_bytes > specs.count - image.spec_at ||
        image.descriptors > kMaxDescriptors || image.own > kMaxDescriptors - image.descriptors) {
      return "a revision that is not whole";
    }
    if (!sys::SpecView(specs.bytes + image.spec_at, image.spec_bytes)
             .valid(image.descriptors + image.own))
      return "a revision that cannot be read";
    RevisionRecord& record = table.revisions[i];
    record.id = image.id;
    record.epoch = image.epoch;
    record.size = image.spec_bytes;
    record.descriptors = image.descriptors;
    record.own = image.own;
    std::memcpy(record.fds, image.fds, sizeof record.fds);
    std::memcpy(table.spec_of(record), specs.bytes + image.spec_at, image.spec_bytes);
  }
  return nullptr;
}

const char* read_held(const Section& section, Table& table) {
  if (section.count > kMaxHeld) return "too many held descriptors";
  for (std::uint64_t i = 0; i < section.count; ++i) {
    const auto image = section.at<HeldImage>(i);
    if (image.name[0] == '\0' || std::memchr(image.name, '\0', kHoldNameBytes) == nullptr)
      return "a held descriptor without a name";
    if (table.find_held(image.name) != nullptr) return "a held descriptor that is there twice";
    table.add_held(image.name)->fd = image.fd;
  }
  return nullptr;
}

}  // namespace

const char* read_image(const char* bytes, std::uint64_t size, Keeper& keeper) {
  ImageHeader header;
  if (size < sizeof header || size > kMaxImageBytes) return "not whole";
  std::memcpy(&header, bytes, sizeof header);
  if (std::memcmp(header.magic, kTableMagic, sizeof kTableMagic) != 0) return "not a process table";
  if (header.version == 0 || header.version + 1 < kTableVersion ||
      header.version > kTableVersion + 1)
    return "of a version too far from this one";
  if (header.size != size) return "not whole";
  if (checksum(bytes + sizeof header, size - sizeof header) != header.checksum) return "damaged";
  Image image;
  image.same_version = header.version == kTableVersion;
  const char* wrong = find_sections(bytes, size, header.sections, image);
  if (wrong == nullptr) wrong = read_daemon(image.daemon.at<DaemonImage>(0), keeper);
  if (wrong == nullptr) wrong = read_processes(image.processes, keeper.table);
  if (wrong == nullptr) wrong = read_revisions(image.revisions, image.specs, keeper.table);
  if (wrong == nullptr) wrong = read_held(image.held, keeper.table);
  return wrong;
}

const char* read_image_file(int file, Keeper& keeper) {
  struct stat info {};
  const int seals = fcntl(file, F_GET_SEALS);
  constexpr int kWanted = F_SEAL_SHRINK | F_SEAL_WRITE;
  if (seals < 0 || (seals & kWanted) != kWanted || fstat(file, &info) != 0)
    return "not a sealed memory file";
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size == 0 || size > kMaxImageBytes) return "not whole";
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return "not to be mapped";
  const char* wrong = read_image(static_cast<const char*>(memory), size, keeper);
  munmap(memory, size);
  return wrong;
}

}  // namespace mtd::keeper
