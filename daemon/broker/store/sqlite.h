// The little of SQLite that the store uses: a connection and prepared statements, owned. Errors are
// SQLite's extended result codes (sqlite3.h); SQLITE_OK, SQLITE_ROW and SQLITE_DONE are success.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mtd::task {

class Statement {
 public:
  Statement() = default;

  // Parameters count from 1. Text and blobs are not copied: they must live until the next reset().
  void bind(int at, std::int64_t value) { sqlite3_bind_int64(raw_.get(), at, value); }
  void bind_null(int at) { sqlite3_bind_null(raw_.get(), at); }
  void bind_text(int at, std::string_view text);   // empty: NULL
  void bind_blob(int at, std::string_view bytes);  // empty: NULL
  // SQLITE_ROW, SQLITE_DONE, or an error.
  [[nodiscard]] int step() { return sqlite3_step(raw_.get()); }
  // Ready for the next use; bindings are gone.
  void reset();
  // All of it, for a statement without rows: SQLITE_OK or an error.
  [[nodiscard]] int run();

  // Columns count from 0.
  [[nodiscard]] std::int64_t number(int at) { return sqlite3_column_int64(raw_.get(), at); }
  [[nodiscard]] std::string text(int at);
  [[nodiscard]] bool is_null(int at) { return sqlite3_column_type(raw_.get(), at) == SQLITE_NULL; }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> raw_;
};

class Database {
 public:
  // vfs: nullptr for the system's.
  [[nodiscard]] int open(const std::string& path, const char* vfs);
  void close() { raw_.reset(); }
  [[nodiscard]] int execute(const char* sql);
  [[nodiscard]] int prepare(Statement& statement, std::string_view sql);
  // The first column of the first row; `otherwise` when there is none.
  [[nodiscard]] int number(std::string_view sql, std::int64_t& value);
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(raw_.get()); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(raw_.get()) == 0; }
  [[nodiscard]] std::string message() const { return sqlite3_errmsg(raw_.get()); }
  // SQLite's own; null: there is none.
  [[nodiscard]] sqlite3_file* file() const { return file(SQLITE_FCNTL_FILE_POINTER); }
  [[nodiscard]] sqlite3_file* log() const { return file(SQLITE_FCNTL_JOURNAL_POINTER); }
  [[nodiscard]] sqlite3* raw() const { return raw_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  [[nodiscard]] sqlite3_file* file(int which) const;
  std::unique_ptr<sqlite3, Close> raw_;
};

// Resets a statement at the end of a scope.
class Use {
 public:
  explicit Use(Statement& statement) : statement_(statement) {}
  ~Use() { statement_.reset(); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  Statement* operator->() { return &statement_; }

 private:
  Statement& statement_;
};

[[nodiscard]] inline bool is_success(int code) {
  return code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE;
}
// There is no room, now: the disk, the quota or memory.
[[nodiscard]] bool is_want_of_room(int code);
// SQLite knows one way to have no room, ENOSPC, and calls every other an error of writing.
// SQLITE_FULL for these as well; `code` in all other cases. `written`: the file that it is about.
[[nodiscard]] int with_wants(int code, sqlite3_file* written);
// errno of the last call of a file that failed; 0: it does not say.
[[nodiscard]] int last_error_of(sqlite3_file* file);
// The file is not what it was: a page is damaged, or it is no database at all.
[[nodiscard]] bool is_damage(int code);

}  // namespace mtd::task
