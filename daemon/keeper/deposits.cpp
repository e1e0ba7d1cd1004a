// What the role leaves with the keeper beyond its own life: revisions, copied with their
// descriptors, and descriptors held by name.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/keeper/request.h"

namespace mtd::keeper {
namespace {

// A free place; failing that one that an earlier life of the role left.
RevisionRecord* place_for_revision(Keeper& keeper) {
  RevisionRecord* old = nullptr;
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    RevisionRecord& record = keeper.table.revisions[i];
    if (record.size == 0) return &record;
    if (record.epoch != keeper.role.epoch) old = &record;
  }
  if (old != nullptr) keeper.table.clear(*old);
  return old;
}

// Copies the spec, so that nobody can change or shorten it under the keeper's feet.
int read_spec(int memory, char* to, std::uint32_t size) {
  std::uint32_t done = 0;
  while (done < size) {
    const ssize_t n = pread(memory, to + done, size - done, done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EINVAL;
    done += static_cast<std::uint32_t>(n);
  }
  return 0;
}

bool valid_name(const char* name) {
  return name[0] != '\0' && std::memchr(name, '\0', kHoldNameBytes) != nullptr;
}

}  // namespace

int lift(int& fd, const sys::SpecView& spec) {
  const std::uint32_t count = spec.header().descriptors;
  const int highest = count == 0 ? 2 : spec.descriptors()[count - 1].child;
  if (fd > highest) return 0;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, highest + 1);
  if (moved < 0) return errno;
  close(fd);
  fd = moved;
  return 0;
}

int store_revision(Keeper& keeper, Request& request) {
  const auto& message = request.as<Revision>();
  if (message.spec_bytes == 0 || message.spec_bytes > kMaxSpecBytes) return EMSGSIZE;
  if (message.descriptors > kMaxDescriptors || message.own > kMaxDescriptors - message.descriptors)
    return EINVAL;
  if (request.fd_count != message.descriptors + 1) return EINVAL;
  struct Reset {
    Table& table;
    RevisionRecord& record;
    bool armed = true;
    ~Reset() {
      if (armed) table.clear(record);
    }
  };
  if (!(fcntl(request.fds[0], F_GET_SEALS) & F_SEAL_WRITE))
    return EINVAL;  // a memfd: reading is quick
  RevisionRecord* same = keeper.table.revision(message.id);
  if (same != nullptr) keeper.table.clear(*same);
  RevisionRecord* record = same != nullptr ? same : place_for_revision(keeper);
  if (record == nullptr) return ENOSPC;
  record->id = message.id;
  record->epoch = keeper.role.epoch;
  record->size = message.spec_bytes;
  Reset reset{keeper.table, *record};
  char* const bytes = keeper.table.spec_of(*record);
  if (const int error = read_spec(request.fds[0], bytes, message.spec_bytes); error != 0)
    return error;
  const sys::SpecView spec(bytes, message.spec_bytes);
  if (!spec.valid(message.descriptors + message.own)) return EINVAL;
  record->own = message.own;
  for (std::uint32_t i = 0; i < message.descriptors; ++i) {
    int& fd = request.fds[i + 1];
    if (const int error = lift(fd, spec); error != 0) return error;
    record->fds[record->descriptors++] = request.take(i + 1);
  }
  reset.armed = false;
  return 0;
}

int forget(Keeper& keeper, std::uint64_t id) {
  RevisionRecord* record = keeper.table.revision(id);
  if (record == nullptr) return ENOENT;
  keeper.table.clear(*record);
  return 0;
}

int hold(Keeper& keeper, Request& request) {
  const char* name = request.as<Hold>().name;
  if (!valid_name(name) || request.fd_count != 1) return EINVAL;
  HeldRecord* record = keeper.table.find_held(name);
  if (record == nullptr) record = keeper.table.add_held(name);
  if (record == nullptr) return ENOSPC;
  close_fd(record->fd);
  record->fd = request.take(0);
  return 0;
}

void answer_held(Role& role, const Request& request, int error, int fd) {
  role.answer.held = Held{};
  role.answer.held.header.type = Type::held;
  role.answer.held.header.size = sizeof(Held);
  role.answer.held.header.serial = request.header().serial;
  role.answer.held.error = error;
  role.answer_fd = fd;
  role.answer_waiting = true;
}

void fetch(Keeper& keeper, const Request& request) {
  const auto& message = request.as<Fetch>();
  const HeldRecord* record =
      valid_name(message.name) ? keeper.table.find_held(message.name) : nullptr;
  // The descriptor is borrowed: sent before the next request.
  answer_held(keeper.role, request, record == nullptr ? ENOENT : 0,
              record == nullptr ? -1 : record->fd);
  std::memcpy(keeper.role.answer.held.name, message.name, kHoldNameBytes);
}

int drop(Keeper& keeper, const Drop& message) {
  HeldRecord* record = valid_name(message.name) ? keeper.table.find_held(message.name) : nullptr;
  if (record == nullptr) return ENOENT;
  close_fd(record->fd);
  keeper.table.remove_held(*record);
  return 0;
}

}  // namespace mtd::keeper
