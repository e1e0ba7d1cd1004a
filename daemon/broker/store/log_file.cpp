#include "daemon/broker/store/log_file.h"

#include <cerrno>

#include "daemon/broker/store/sqlite.h"

namespace mtd::task {
namespace {
constexpr int kMostInterrupts = 100;
}  // namespace

void LogFile::take(sqlite3_file* file) {
  const std::lock_guard hold(lock_);
  file_ = file;
  failed_ = false;
  if (file == nullptr || file->pMethods == nullptr) return;
  usual_ = file->pMethods;
  methods_.table = *usual_;
  methods_.table.xSync = sync_of;
  methods_.owner = this;
  file->pMethods = &methods_.table;
}

void LogFile::release() {
  const std::lock_guard hold(lock_);
  file_ = nullptr;
}

int LogFile::sync_of(sqlite3_file* file, int flags) {
  // `table` is the first member of the Methods that take() has put there.
  LogFile& self = *reinterpret_cast<const Methods*>(file->pMethods)->owner;
  const std::lock_guard hold(self.lock_);
  return self.sync_held(file, flags);
}

bool LogFile::sync() {
  const std::lock_guard hold(lock_);
  return sync_held(file_, SQLITE_SYNC_NORMAL) == SQLITE_OK;
}

int LogFile::sync_held(sqlite3_file* file, int flags) {
  if (failed_ || file == nullptr || usual_ == nullptr) return SQLITE_IOERR_FSYNC;
  int code = usual_->xSync(file, flags);
  // Interrupted, it has not come to what would have failed.
  for (int i = 0; code != SQLITE_OK && last_error_of(file) == EINTR && i < kMostInterrupts; ++i)
    code = usual_->xSync(file, flags);
  if (code != SQLITE_OK) failed_ = true;
  return code;
}

}  // namespace mtd::task
