#include "daemon/keeper/table_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "daemon/keeper/table_image_format.h"

namespace mtd::keeper {
namespace {

// Writes after the place of the header, through a buffer; the header comes last.
struct Writer {
  int file = -1, error = 0;
  std::uint64_t size = sizeof(ImageHeader), hash = checksum(nullptr, 0);
  std::size_t filled = 0;
  char buffer[8192];

  void flush() {
    std::size_t done = 0;
    while (done < filled && error == 0) {
      const ssize_t n =
          pwrite(file, buffer + done, filled - done, static_cast<off_t>(size - filled + done));
      if (n > 0) done += static_cast<std::size_t>(n);
      if (n <= 0 && errno != EINTR) error = n == 0 ? ENOSPC : errno;
    }
    filled = 0;
  }
  void put(const void* bytes, std::uint64_t count) {
    hash = checksum(static_cast<const char*>(bytes), count, hash);
    for (const char* at = static_cast<const char*>(bytes); count > 0;) {
      if (filled == sizeof buffer) flush();
      const std::uint64_t part =
          count < sizeof buffer - filled ? count : std::uint64_t{sizeof buffer - filled};
      std::memcpy(buffer + filled, at, part);
      filled += part;
      size += part;
      at += part;
      count -= part;
    }
  }
  void pad(std::uint64_t after) {
    const char zeros[8] = {};
    put(zeros, padded(after) - after);
  }
  void begin(SectionKind kind, std::uint32_t element_bytes, std::uint64_t count) {
    SectionHeader section;
    section.kind = kind;
    section.element_bytes = element_bytes;
    section.count = count;
    put(&section, sizeof section);
  }
};

DaemonImage daemon_image(const Keeper& keeper) {
  const Settings& settings = keeper.settings;
  DaemonImage image;
  image.pid = getpid();
  image.capacity = keeper.table.capacity;
  each_field(image, keeper, [](auto& to, const auto& from) { copy_field(to, from); });
  if (settings.notify_socket != nullptr &&
      std::strlen(settings.notify_socket) < sizeof image.notify_socket) {
    image.has_notify_socket = 1;
    std::strcpy(image.notify_socket, settings.notify_socket);
  }
  return image;
}

void put_processes(Writer& out, const Table& table) {
  out.begin(SectionKind::processes, sizeof(ProcessImage), table.used);
  for (std::uint32_t i = 0; i < table.high_water; ++i) {
    const Process& record = table.processes[i];
    if (!record.used) continue;
    ProcessImage image;
    image.entry = record.message;
    image.killed_for = record.killed_for;
    image.stage = record.note.stage;
    image.dirty = record.dirty ? 1 : 0;
    out.put(&image, sizeof image);
  }
  out.pad(std::uint64_t{table.used} * sizeof(ProcessImage));
}

void put_revisions(Writer& out, const Table& table) {
  std::uint64_t count = 0, bytes = 0;
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    count += table.revisions[i].size != 0 ? 1 : 0;
    bytes += padded(table.revisions[i].size);
  }
  out.begin(SectionKind::revisions, sizeof(RevisionImage), count);
  std::uint64_t at = 0;
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    const RevisionRecord& record = table.revisions[i];
    if (record.size == 0) continue;
    RevisionImage image;
    image.id = record.id;
    image.epoch = record.epoch;
    image.spec_at = at;
    image.spec_bytes = record.size;
    image.descriptors = record.descriptors;
    image.own = record.own;
    std::memcpy(image.fds, record.fds, sizeof image.fds);
    out.put(&image, sizeof image);
    at += padded(record.size);
  }
  out.pad(count * sizeof(RevisionImage));
  out.begin(SectionKind::specs, 1, bytes);
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    const RevisionRecord& record = table.revisions[i];
    if (record.size == 0) continue;
    out.put(table.spec_of(record), record.size);
    out.pad(record.size);
  }
}

void put_held(Writer& out, const Table& table) {
  out.begin(SectionKind::held, sizeof(HeldImage), table.held_used);
  for (std::uint32_t i = 0; i < table.held_high_water; ++i) {
    const HeldRecord& record = table.held[i];
    if (record.name[0] == '\0') continue;
    HeldImage image;
    std::memcpy(image.name, record.name, sizeof image.name);
    image.fd = record.fd;
    out.put(&image, sizeof image);
  }
  out.pad(std::uint64_t{table.held_used} * sizeof(HeldImage));
}

}  // namespace

std::uint64_t checksum(const char* bytes, std::uint64_t size, std::uint64_t hash) {
  for (std::uint64_t i = 0; i < size; ++i)
    hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3ULL;
  return hash;
}

int write_image(const Keeper& keeper, int file) {
  Writer out;
  out.file = file;
  const DaemonImage daemon = daemon_image(keeper);
  out.begin(SectionKind::daemon, sizeof daemon, 1);
  out.put(&daemon, sizeof daemon);
  out.pad(sizeof daemon);
  put_processes(out, keeper.table);
  put_revisions(out, keeper.table);
  put_held(out, keeper.table);
  out.flush();
  ImageHeader header;
  std::memcpy(header.magic, kTableMagic, sizeof kTableMagic);
  header.version = kTableVersion;
  header.sections = kSections;
  header.size = out.size;
  header.checksum = out.hash;
  if (out.error == 0 && pwrite(file, &header, sizeof header, 0) != sizeof header) {
    out.error = errno;
  }
  return out.error;
}

int make_image(const Keeper& keeper) {
  const int file = memfd_create("mtd-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return -1;
  int error = write_image(keeper, file);
  const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (error == 0 && fcntl(file, F_ADD_SEALS, seals) != 0) error = errno;
  if (error == 0) return file;
  close(file);
  errno = error;
  return -1;
}

namespace {

bool mark(int fd, bool inheritable) {
  return fd < 0 || fcntl(fd, F_SETFD, inheritable ? 0 : FD_CLOEXEC) == 0;
}

}  // namespace

bool set_inheritable(const Keeper& keeper, bool inheritable) {
  const Settings& settings = keeper.settings;
  bool good = true;
  for (const int fd : {settings.ready_fd, settings.start_directory, settings.null_fd,
                       settings.notify_fd, settings.own_program, settings.role_program,
                       keeper.upgrade.new_keeper, keeper.upgrade.new_role, keeper.role.socket}) {
    good = mark(fd, inheritable) && good;
  }
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    const RevisionRecord& record = keeper.table.revisions[i];
    for (std::uint32_t d = 0; d < record.descriptors; ++d)
      good = mark(record.fds[d], inheritable) && good;
  }
  for (std::uint32_t i = 0; i < keeper.table.held_high_water; ++i) {
    if (keeper.table.held[i].name[0] != '\0')
      good = mark(keeper.table.held[i].fd, inheritable) && good;
  }
  return good;
}

}  // namespace mtd::keeper
