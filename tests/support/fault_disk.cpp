#include "tests/support/fault_disk.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/entropy.h"

namespace mtd::test {
namespace {

FaultDisk* the_disk = nullptr;  // SQLite's callbacks have no argument of ours

struct Handle {
  sqlite3_file base;
  std::string* name;
  int error;  // of the last write that failed
};

FaultDisk::File& file_of(sqlite3_file* raw) {
  return the_disk->files()[*reinterpret_cast<Handle*>(raw)->name];
}

void put_in(std::string& to, const FaultDisk::Write& write) {
  if (write.truncates) {
    to.resize(write.offset);
    return;
  }
  if (to.size() < write.offset + write.bytes.size()) to.resize(write.offset + write.bytes.size());
  to.replace(write.offset, write.bytes.size(), write.bytes);
}

int close(sqlite3_file* raw) {
  delete reinterpret_cast<Handle*>(raw)->name;
  return SQLITE_OK;
}

int read(sqlite3_file* raw, void* to, int count, sqlite3_int64 offset) {
  const auto hold = the_disk->hold();
  const std::string& now = file_of(raw).now;
  const auto begin = static_cast<std::size_t>(offset);
  const auto wanted = static_cast<std::size_t>(count);
  const std::size_t have = begin >= now.size() ? 0 : std::min(wanted, now.size() - begin);
  if (have != 0) std::memcpy(to, now.data() + begin, have);
  if (have == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(to) + have, 0, wanted - have);
  return SQLITE_IOERR_SHORT_READ;
}

int write(sqlite3_file* raw, const void* from, int count, sqlite3_int64 offset) {
  const auto hold = the_disk->hold();
  FaultDisk::File& file = file_of(raw);
  const auto end = static_cast<std::uint64_t>(offset) + static_cast<std::uint64_t>(count);
  const std::uint64_t more = end > file.now.size() ? end - file.now.size() : 0;
  if (more != 0 && !the_disk->has_room(more)) {
    reinterpret_cast<Handle*>(raw)->error = the_disk->want_of_room();
    return the_disk->want_of_room() == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  }
  reinterpret_cast<Handle*>(raw)->error = EIO;
  if (!the_disk->change()) return SQLITE_IOERR_WRITE;
  FaultDisk::Write change;
  change.offset = static_cast<std::uint64_t>(offset);
  change.bytes.assign(static_cast<const char*>(from), static_cast<std::size_t>(count));
  put_in(file.now, change);
  file.unsynced.push_back(std::move(change));
  return SQLITE_OK;
}

int truncate(sqlite3_file* raw, sqlite3_int64 size) {
  const auto hold = the_disk->hold();
  if (!the_disk->change()) return SQLITE_IOERR_TRUNCATE;
  FaultDisk::File& file = file_of(raw);
  FaultDisk::Write change;
  change.offset = static_cast<std::uint64_t>(size);
  change.truncates = true;
  put_in(file.now, change);
  file.unsynced.push_back(std::move(change));
  return SQLITE_OK;
}

int sync(sqlite3_file* raw, int) {
  auto hold = the_disk->hold();
  if (the_disk->sync_fails(hold) || !the_disk->change()) return SQLITE_IOERR_FSYNC;
  FaultDisk::File& file = file_of(raw);
  file.synced = file.now;
  file.unsynced.clear();
  return SQLITE_OK;
}

int size(sqlite3_file* raw, sqlite3_int64* bytes) {
  const auto hold = the_disk->hold();
  *bytes = static_cast<sqlite3_int64>(file_of(raw).now.size());
  return SQLITE_OK;
}

int lock(sqlite3_file*, int) {
  return SQLITE_OK;
}
int reserved(sqlite3_file*, int* is) {
  *is = 0;
  return SQLITE_OK;
}
int control(sqlite3_file* raw, int what, void* argument) {
  if (what != SQLITE_FCNTL_LAST_ERRNO) return SQLITE_NOTFOUND;
  *static_cast<int*>(argument) = reinterpret_cast<Handle*>(raw)->error;
  return SQLITE_OK;
}
int sector(sqlite3_file*) {
  return 4096;
}
int traits(sqlite3_file*) {
  return 0;
}

const sqlite3_io_methods kMethods = {
    1,       close,  read,   write,   truncate, sync,    size,    lock,    lock,    reserved,
    control, sector, traits, nullptr, nullptr,  nullptr, nullptr, nullptr, nullptr,
};

int open(sqlite3_vfs*, const char* name, sqlite3_file* raw, int flags, int* out) {
  const auto hold = the_disk->hold();
  static std::uint64_t temporaries = 0;
  auto* handle = reinterpret_cast<Handle*>(raw);
  handle->name =
      new std::string(name != nullptr ? name : "temporary" + std::to_string(++temporaries));
  handle->base.pMethods = &kMethods;
  handle->error = 0;
  the_disk->files()[*handle->name].exists = true;
  if (out != nullptr) *out = flags;
  return SQLITE_OK;
}

int remove(sqlite3_vfs*, const char* name, int) {
  const auto hold = the_disk->hold();
  if (!the_disk->change()) return SQLITE_IOERR_DELETE;
  the_disk->files().erase(name);
  return SQLITE_OK;
}

int access(sqlite3_vfs*, const char* name, int, int* is) {
  const auto hold = the_disk->hold();
  const auto file = the_disk->files().find(name);
  *is = file != the_disk->files().end() && file->second.exists ? 1 : 0;
  return SQLITE_OK;
}

int full_name(sqlite3_vfs*, const char* name, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", name);
  return SQLITE_OK;
}

sqlite3_vfs the_vfs;

}  // namespace

FaultDisk::FaultDisk() {
  the_disk = this;
  const sqlite3_vfs* usual = sqlite3_vfs_find(nullptr);
  the_vfs = *usual;  // clock and random numbers stay the system's
  the_vfs.iVersion = 1;
  the_vfs.szOsFile = sizeof(Handle);
  the_vfs.pNext = nullptr;
  the_vfs.zName = kName;
  the_vfs.xOpen = open;
  the_vfs.xDelete = remove;
  the_vfs.xAccess = access;
  the_vfs.xFullPathname = full_name;
  sqlite3_vfs_register(&the_vfs, 0);
}

FaultDisk::~FaultDisk() {
  sqlite3_vfs_unregister(&the_vfs);
  the_disk = nullptr;
}

bool FaultDisk::change() {
  ++changes_;
  return !has_stopped() && changes_ != fail_change_;
}

bool FaultDisk::sync_fails(std::unique_lock<std::mutex>& hold) {
  ++syncs_;
  if (std::exchange(fail_next_sync_, false)) {
    is_held_ = std::exchange(hold_next_sync_, false);
    gate_.notify_all();
    gate_.wait(hold, [this] { return !is_held_; });
    return true;
  }
  return fail_sync_ != 0 && syncs_ >= fail_sync_;
}

void FaultDisk::start_again(After after, std::uint64_t seed) {
  Entropy dice(seed);
  for (auto& [name, file] : files_) {
    if (after == After::power_cut) file.now = file.synced;
    if (after == After::torn) {
      file.now = file.synced;
      for (const Write& write : file.unsynced) {
        if (dice.next() % 2 == 0) put_in(file.now, write);
      }
    }
    file.synced = file.now;
    file.unsynced.clear();
  }
  changes_ = stop_at_ = syncs_ = fail_sync_ = fail_change_ = 0;
}

std::uint64_t FaultDisk::used() const {
  std::uint64_t sum = 0;
  for (const auto& [name, file] : files_)
    sum += file.now.size();
  return sum;
}

void FaultDisk::damage(const std::string& name, std::uint64_t offset, std::size_t length) {
  std::string& now = files_[name].now;
  for (std::size_t i = 0; i < length && offset + i < now.size(); ++i)
    now[offset + i] = static_cast<char>(~now[offset + i]);
  files_[name].synced = now;
}

}  // namespace mtd::test
