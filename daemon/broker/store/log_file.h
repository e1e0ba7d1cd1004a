// LogFile: the log of a database, whose syncs have one outcome for everybody. Of what it could not
// write the kernel tells only one of those who sync a file (fsync(2)), and SQLite syncs the log by
// itself, too, before it moves it into the database, perhaps while somebody else does. So every
// sync of the log goes through here, SQLite's own as well: one at a time, and after one that has
// failed there is none that succeeds.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <mutex>

namespace mtd::task {

class LogFile {
 public:
  LogFile() = default;
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // The file that SQLite has opened. Until release() it stays open, and this object where it is.
  void take(sqlite3_file* file);
  void release();
  // What has been written before is on the disk. False: nobody knows what is, now and for ever.
  // In any thread.
  [[nodiscard]] bool sync();
  // The log cannot be relied on any more.
  void give_up() { failed_ = true; }
  [[nodiscard]] bool has_failed() const { return failed_; }

 private:
  // What SQLite calls for this file: everything but the sync is the file's own.
  struct Methods {
    sqlite3_io_methods table{};
    LogFile* owner = nullptr;
  };
  static int sync_of(sqlite3_file* file, int flags);
  [[nodiscard]] int sync_held(sqlite3_file* file, int flags);

  std::mutex lock_;  // of the syncs, and of file_
  sqlite3_file* file_ = nullptr;
  const sqlite3_io_methods* usual_ = nullptr;
  Methods methods_;
  std::atomic<bool> failed_ = false;
};

}  // namespace mtd::task
