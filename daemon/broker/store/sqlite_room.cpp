// Room: the quota, the ballast, and the checkpoint that moves the log into the file.
#include <algorithm>

#include "daemon/broker/store/sqlite_store.h"

namespace mtd::task {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr int kCheckpointPages = 1000;
constexpr std::uint64_t kVacuumPages = 4096;
constexpr int kVacuumedAtOnce = 1024;
constexpr int kVacuumSteps = 8;  // of them, where room is wanted and the log has little

// Of the quota: for what ends tasks.
std::uint64_t reserve_of(std::uint64_t quota) {
  return std::clamp<std::uint64_t>(quota / 16, 256 * 1024, 16ULL << 20U);
}

}  // namespace

int SqliteStore::used_bytes(std::uint64_t& used) {
  std::int64_t pages = 0;
  for (const Sql which : {Sql::page_count, Sql::free_pages}) {
    Use count(statement(which));
    const int code = count->step();
    if (!is_success(code)) return code;
    pages += which == Sql::page_count ? count->number(0) : -count->number(0);
  }
  used = static_cast<std::uint64_t>(std::max<std::int64_t>(pages, 0)) * kPage;
  return SQLITE_OK;
}

bool SqliteStore::is_over_quota(std::uint64_t used, std::uint64_t more) const {
  return used + file_bytes() + more + reserve_of(options_.quota) > options_.quota;
}

// Whether there is room within the quota for what this batch puts.
bool SqliteStore::may_grow(const std::vector<StoreOp>& batch) {
  std::uint64_t more = 0;
  for (const StoreOp& op : batch) {
    if (const auto* put = std::get_if<PutOp>(&op.what)) {
      for (const NewTask& task : put->tasks)
        more += task.facts.bytes;
    }
  }
  if (more == 0) return true;
  std::uint64_t used = 0;
  if (used_bytes(used) != SQLITE_OK) return true;  // the commit will tell
  return !is_over_quota(used, more);
}

bool SqliteStore::is_refused(const StoreOp& op) const {
  if (std::holds_alternative<PutOp>(op.what) || std::holds_alternative<ReviveOp>(op.what))
    return room_ != Room::enough;
  return std::holds_alternative<ClaimOp>(op.what) && room_ == Room::for_ends_only;
}

void SqliteStore::refuse_growth() {
  room_ = Room::for_what_is_there;
  message_ = "there is no room for more tasks in " + options_.path;
}

// What was left has not been enough.
void SqliteStore::narrow() {
  if (room_ == Room::enough) {
    refuse_growth();
  } else {
    room_ = Room::for_ends_only;
  }
  give_up_ballast();
}

// And use it at once for what needs it most: with the log in the file, what follows is written over
// the log.
void SqliteStore::give_up_ballast() {
  (void)ballast_.give_up();
  const int code = checkpoint();
  if (code != SQLITE_OK && !is_want_of_room(code)) note_failed_checkpoint(code);
}

// Room again? The ballast is the first to have it. Perhaps there is enough for claims, at least.
int SqliteStore::apply(const ProbeOp&, StoreDone& done) {
  done.status = StoreStatus::committed;
  if (room_ == Room::enough) return SQLITE_OK;
  room_ = Room::for_what_is_there;
  std::uint64_t used = 0;
  const int code = used_bytes(used);
  if (code != SQLITE_OK) return code;
  done.status = StoreStatus::full;
  if (is_over_quota(used, reserve_of(options_.quota) / 4)) return SQLITE_OK;
  if (!take_ballast()) return SQLITE_OK;
  room_ = Room::enough;
  message_.clear();
  done.status = StoreStatus::committed;
  return SQLITE_OK;
}

// The log into the file.
int SqliteStore::checkpoint() {
  const int code = sqlite3_wal_checkpoint_v2(database_.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                             nullptr, nullptr);
  wal_pages_ = 0;
  return with_wants(code, database_.file());
}

int SqliteStore::give_back(int pages) {
  const std::string sql = "PRAGMA incremental_vacuum(" + std::to_string(pages) + ")";
  return with_wants(database_.execute(sql.c_str()), database_.log());
}

std::uint64_t SqliteStore::free_pages() {
  Use count(statement(Sql::free_pages));
  return count->step() == SQLITE_ROW ? static_cast<std::uint64_t>(count->number(0)) : 0;
}

void SqliteStore::note_failed_checkpoint(int code) {
  log_.give_up();  // whatever waits for a sync hears of it as well
  note_failure(code, "checkpoint");
}

// And free pages back to the disk, when there are many of them.
void SqliteStore::tidy() {
  if (failed_ || wal_pages_ < kCheckpointPages) return;
  int code = checkpoint();
  if (is_want_of_room(code)) {
    if (room_ == Room::enough) refuse_growth();
    return give_up_ballast();
  }
  if (code != SQLITE_OK) return note_failed_checkpoint(code);
  if (free_pages() < kVacuumPages) return;
  code = give_back(kVacuumedAtOnce);
  if (code != SQLITE_OK && !is_want_of_room(code)) note_failure(code, "give back free pages");
}

// On a disk that the database itself has filled its free pages are all the room there will be.
bool SqliteStore::take_ballast() {
  if (options_.ballast == 0 || ballast_.take()) return true;
  if (free_pages() == 0) return false;
  int code = checkpoint();  // first, so that the log is no longer than what follows
  for (int step = 0; code == SQLITE_OK && step < kVacuumSteps && free_pages() != 0; ++step) {
    code = give_back(kVacuumedAtOnce / kVacuumSteps);
    if (code == SQLITE_OK) code = checkpoint();
    if (code == SQLITE_OK && ballast_.take()) return true;
  }
  if (code != SQLITE_OK && !is_want_of_room(code)) note_failed_checkpoint(code);
  return false;
}

}  // namespace mtd::task
