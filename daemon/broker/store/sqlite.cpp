#include "daemon/broker/store/sqlite.h"

namespace mtd::task {

void Statement::bind_text(int at, std::string_view text) {
  if (text.empty()) return bind_null(at);
  sqlite3_bind_text64(raw_.get(), at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void Statement::bind_blob(int at, std::string_view bytes) {
  if (bytes.empty()) return bind_null(at);
  sqlite3_bind_blob64(raw_.get(), at, bytes.data(), bytes.size(), SQLITE_STATIC);
}

void Statement::reset() {
  sqlite3_reset(raw_.get());
  sqlite3_clear_bindings(raw_.get());
}

int Statement::run() {
  const int code = step();
  reset();
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

std::string Statement::text(int at) {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(raw_.get(), at));
  if (bytes == nullptr) return {};
  return std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(raw_.get(), at)));
}

int Database::open(const std::string& path, const char* vfs) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      vfs);
  raw_.reset(raw);
  return code;
}

int Database::execute(const char* sql) {
  return sqlite3_exec(raw_.get(), sql, nullptr, nullptr, nullptr);
}

int Database::prepare(Statement& statement, std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(raw_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  statement.raw_.reset(raw);
  return code;
}

int Database::number(std::string_view sql, std::int64_t& value) {
  Statement statement;
  int code = prepare(statement, sql);
  if (code != SQLITE_OK) return code;
  code = statement.step();
  if (code == SQLITE_ROW) value = statement.number(0);
  return is_success(code) ? SQLITE_OK : code;
}

bool is_want_of_room(int code) {
  const int kind = code & 0xff;
  return kind == SQLITE_FULL || kind == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM;
}

bool is_damage(int code) {
  const int kind = code & 0xff;
  return kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB;
}

}  // namespace mtd::task
