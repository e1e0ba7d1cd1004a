// Room: the quota, the ballast, and the checkpoint that moves the log into the file.
#include <algorithm>

#include "daemon/broker/store/sqlite_store.h"

namespace mtd::task {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr int kCheckpointPages = 1000;
constexpr std::uint64_t kVacuumPages = 4096;

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

void SqliteStore::no_room() {
  no_room_ = true;
  message_ = "there is no room for more tasks in " + options_.path;
  (void)ballast_.give_up();
}

// Room again? The ballast is the first to have it.
int SqliteStore::apply(const ProbeOp&, StoreDone& done) {
  done.status = StoreStatus::committed;
  if (!no_room_) return SQLITE_OK;
  std::uint64_t used = 0;
  const int code = used_bytes(used);
  if (code != SQLITE_OK) return code;
  done.status = StoreStatus::full;
  if (is_over_quota(used, reserve_of(options_.quota) / 4)) return SQLITE_OK;
  if (options_.ballast != 0 && !ballast_.take()) return SQLITE_OK;
  no_room_ = false;
  message_.clear();
  done.status = StoreStatus::committed;
  return SQLITE_OK;
}

// The log into the file, and free pages back to the disk, when there are many of them.
void SqliteStore::tidy() {
  if (failed_ || wal_pages_ < kCheckpointPages) return;
  int code = sqlite3_wal_checkpoint_v2(database_.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                       nullptr);
  code = with_wants(code, database_.file());
  wal_pages_ = 0;
  if (is_want_of_room(code)) return no_room();
  if (code != SQLITE_OK) {
    log_.give_up();  // whatever waits for a sync hears of it as well
    return note_failure(code, "checkpoint");
  }
  Use count(statement(Sql::free_pages));
  if (count->step() != SQLITE_ROW) return;
  if (static_cast<std::uint64_t>(count->number(0)) < kVacuumPages) return;
  code = with_wants(database_.execute("PRAGMA incremental_vacuum(1024)"), database_.log());
  if (code != SQLITE_OK && !is_want_of_room(code)) note_failure(code, "give back free pages");
}

}  // namespace mtd::task
