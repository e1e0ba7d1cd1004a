// Opening: whose file it is, whether it is whole, and what becomes of it if it is not.
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "daemon/broker/store/sqlite_schema.h"
#include "daemon/broker/store/sqlite_store.h"
#include "daemon/sys/durable_directory.h"

namespace mtd::task {
namespace {

constexpr int kCacheKib = 8 * 1024;
constexpr const char* kSuspected = ".suspected";  // behind the path, a file of this name

Error error_of(const Database& database, const std::string& path, int code) {
  if ((code & 0xff) == SQLITE_BUSY) {
    return Error{path + " is in use by another process; one mtd a state directory", 0};
  }
  return Error{path + ": " + database.message(), 0};
}

}  // namespace

SqliteStore::SqliteStore(SqliteOptions options)
    : options_(std::move(options)),
      ballast_(options_.path + ".ballast", options_.ballast),
      files_(options_.files) {}

SqliteStore::~SqliteStore() {
  close_all();
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(SqliteOptions options) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(options)));
  if (auto opened = store->open_or_set_aside(); !opened) return opened.error();
  if (store->options_.ballast != 0) {
    if (auto taken = store->ballast_.take(); !taken) {
      store->room_ = Room::for_what_is_there;
      store->message_ = "no disk space can be held back: " + taken.error().message;
    }
  }
  return store;
}

Result<void> SqliteStore::open_or_set_aside() {
  int code = SQLITE_OK;
  if (auto opened = open_as_it_is(code, false); !opened) return opened;
  return code == SQLITE_OK ? Result<void>() : begin_anew(code);
}

// `code`: what is wrong with the file that is there.
Result<void> SqliteStore::begin_anew(int code) {
  if (!is_damage(code)) return error_of(database_, options_.path, code);
  note_ = set_aside(code);
  if (auto opened = open_as_it_is(code, true); !opened) return opened;
  return code == SQLITE_OK ? Result<void>() : error_of(database_, options_.path, code);
}

Result<void> SqliteStore::open_as_it_is(int& code, bool is_anew) {
  if (options_.vfs == nullptr) {
    if (auto made = sys::ensure_private_file(options_.path); !made) return made.error();
  }
  code = open_file();
  if (code == SQLITE_OK) {
    if (auto known = identify(code); !known) return known.error();
  }
  if (code == SQLITE_OK) code = check_damage();
  if (code == SQLITE_OK) code = add_indices();
  if (code == SQLITE_OK) code = begin_life();
  if (code == SQLITE_OK) code = prepare_all();
  if (code == SQLITE_OK && is_anew) code = keep_ids_apart();
  return code == SQLITE_OK ? keep_names() : Result<void>();
}

// Of the files that are there now. SQLite leaves it at a try where no descriptor is left.
Result<void> SqliteStore::keep_names() {
  if (options_.vfs != nullptr) return {};
  if (auto kept = sys::sync_directory(sys::directory_above(options_.path)); !kept) return kept;
  if (options_.files.empty()) return {};
  auto files = sys::SyncedDirectory::open(options_.files);
  if (files) {
    files_ = std::move(*files);
  } else if (const int error = files.error().errno_value; error != ENOSPC && error != EDQUOT) {
    return files.error();
  }
  return {};
}

int SqliteStore::open_file() {
  const int code = database_.open(options_.path, options_.vfs);
  return code == SQLITE_OK ? configure() : code;
}

// Nothing here writes into a file that is there: the disk may be full.
int SqliteStore::configure() {
  std::int64_t there = 0;
  int code = database_.execute("PRAGMA locking_mode=EXCLUSIVE");
  if (code == SQLITE_OK) code = database_.number("PRAGMA page_count", there);
  if (code == SQLITE_OK && there == 0)
    code = database_.execute("PRAGMA page_size=4096;PRAGMA auto_vacuum=INCREMENTAL");
  if (code != SQLITE_OK) return code;
  const std::int64_t pages = static_cast<std::int64_t>(options_.quota / 4096);
  const std::string sql =
      "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA wal_autocheckpoint=0;"
      "PRAGMA journal_size_limit=16777216;PRAGMA cell_size_check=ON;PRAGMA temp_store=MEMORY;"
      "PRAGMA secure_delete=FAST;"
      "PRAGMA cache_size=-" +
      std::to_string(kCacheKib) + ";PRAGMA max_page_count=" + std::to_string(pages) + ";";
  return database_.execute(sql.c_str());
}

// Ours, and of a version that is understood; an empty file is made ours.
Result<void> SqliteStore::identify(int& code) {
  std::int64_t application = 0, version = 0, tables = 0;
  code = database_.number("PRAGMA application_id", application);
  if (code == SQLITE_OK) code = database_.number("PRAGMA user_version", version);
  if (code == SQLITE_OK) code = database_.number("SELECT COUNT(*) FROM sqlite_master", tables);
  if (code != SQLITE_OK) return {};
  if (tables == 0) {
    code = make_schema();
    return {};
  }
  if (application != kApplicationId) {
    return Error{options_.path + " is a database of something else; move it away", 0};
  }
  if (version > kSchemaVersion) {
    return Error{options_.path + " was written by a newer mtd (version " + std::to_string(version) +
                     ", this one reads " + std::to_string(kSchemaVersion) + ")",
                 0};
  }
  return {};
}

int SqliteStore::make_schema() {
  const std::string sql = std::string("BEGIN IMMEDIATE;") + kSchema +
                          "PRAGMA application_id=" + std::to_string(kApplicationId) +
                          ";PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";COMMIT;";
  return database_.execute(sql.c_str());
}

// Those that a database of an earlier release lacks; every release can do with them and without.
int SqliteStore::add_indices() {
  const int code = with_wants(database_.execute(kLaterIndices), database_.log());
  return is_want_of_room(code) ? SQLITE_OK : code;  // the next time, perhaps
}

// So that it is looked at as a whole when it is opened again.
void SqliteStore::suspect() const {
  if (options_.vfs == nullptr) (void)sys::ensure_private_file(options_.path + kSuspected);
}

bool SqliteStore::is_suspected() const {
  return options_.vfs == nullptr && std::filesystem::exists(options_.path + kSuspected);
}

void SqliteStore::clear_suspicion() const {
  std::error_code ignored;
  if (options_.vfs == nullptr) std::filesystem::remove(options_.path + kSuspected, ignored);
}

// All of it once after each boot, for only a crash of the machine is likely to have damaged it, and
// after it was found to be damaged while it was in use.
int SqliteStore::check_damage() {
  Statement known;
  int code = database_.prepare(known, "SELECT value FROM meta WHERE name='boot'");
  if (code != SQLITE_OK) return code;
  code = known.step();
  if (!is_success(code)) return code;
  const bool same_boot = code == SQLITE_ROW && known.text(0) == options_.boot_id;
  known.reset();
  if (same_boot && !options_.boot_id.empty() && !is_suspected()) return SQLITE_OK;
  Statement check;
  code = database_.prepare(check, "PRAGMA quick_check(1)");
  if (code != SQLITE_OK) return code;
  code = check.step();
  if (!is_success(code)) return code;
  if (code == SQLITE_ROW && check.text(0) != "ok") {
    damage_ = check.text(0);
    return SQLITE_CORRUPT;
  }
  check.reset();
  clear_suspicion();
  Statement note;
  code = database_.prepare(note, "INSERT OR REPLACE INTO meta(name,value)VALUES('boot',?1)");
  if (code != SQLITE_OK) return code;
  note.bind_text(1, options_.boot_id);
  code = with_wants(note.run(), database_.log());
  return is_want_of_room(code) ? SQLITE_OK : code;  // then it is checked again next time
}

// What was running in another life is with no worker: an incarnation of 0.
int SqliteStore::begin_life() {
  if (options_.life.empty()) return SQLITE_OK;
  Statement known;
  int code = database_.prepare(known, "SELECT value FROM meta WHERE name='life'");
  if (code != SQLITE_OK) return code;
  code = known.step();
  if (!is_success(code)) return code;
  const bool same = code == SQLITE_ROW && known.text(0) == options_.life;
  known.reset();
  if (same) return SQLITE_OK;
  for (const bool again : {false, true}) {
    code = database_.execute(
        "BEGIN IMMEDIATE;UPDATE task SET incarnation=0 WHERE live=1 AND state=2 "
        "AND EXISTS(SELECT 1 FROM meta WHERE name='life')");
    Statement note;
    if (code == SQLITE_OK)
      code = database_.prepare(note, "INSERT OR REPLACE INTO meta(name,value)VALUES('life',?1)");
    if (code == SQLITE_OK) {
      note.bind_text(1, options_.life);
      code = note.run();
    }
    if (code == SQLITE_OK) code = database_.execute("COMMIT");
    if (code == SQLITE_OK) return code;
    code = with_wants(code, database_.log());
    if (sqlite3_get_autocommit(database_.raw()) == 0) (void)database_.execute("ROLLBACK");
    if (!is_want_of_room(code)) return code;
    if (!again) (void)ballast_.give_up();
  }
  another_life_ = true;  // so it is looked at again next time
  return SQLITE_OK;
}

int SqliteStore::prepare_all() {
  for (std::size_t i = 0; i < statements_.size(); ++i) {
    const int code = database_.prepare(statements_[i], kTexts[i]);
    if (code != SQLITE_OK) return code;
  }
  sqlite3_wal_hook(
      database_.raw(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<SqliteStore*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  log_.take(database_.log());
  return SQLITE_OK;
}

// Damaged: kept for whoever wants to look at it, and out of the way.
std::string SqliteStore::set_aside(int code) {
  const std::string what = damage_.empty() ? database_.message() : std::exchange(damage_, {});
  close_all();
  clear_suspicion();
  const std::string to = options_.path + ".bad." + options_.time;
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    std::error_code ignored;
    std::filesystem::rename(options_.path + suffix, to + suffix, ignored);
  }
  return "the database of tasks is damaged (" + what + ", code " + std::to_string(code) +
         ") and stands in " + to + " now; an empty one was begun";
}

int SqliteStore::keep_ids_apart() {
  last_id_ = options_.last_id_anew;
  last_id_kept_ = false;
  return keep_last_id();
}

void SqliteStore::close_all() {
  log_.release();
  for (Statement& statement : statements_)
    statement = Statement();
  database_.close();
  pools_.clear();
}

StoreHealth SqliteStore::health() const {
  if (failed_ || log_.has_failed()) return StoreHealth::failed;
  return room_ == Room::enough ? StoreHealth::good : StoreHealth::full;
}

}  // namespace mtd::task
