#include "daemon/broker/store/sqlite.h"

#include <cerrno>

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

sqlite3_file* Database::file(int which) const {
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(raw_.get(), "main", which, static_cast<void*>(&file));
  return code == SQLITE_OK ? file : nullptr;
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

int with_wants(int code, sqlite3_file* written) {
  if (code != SQLITE_IOERR_WRITE) return code;
  switch (last_error_of(written)) {
    case EDQUOT:  // of the file system
    case EFBIG:   // RLIMIT_FSIZE
    case ENOMEM:
    case EAGAIN:
      return SQLITE_FULL;
    default:
      return code;
  }
}

int last_error_of(sqlite3_file* file) {
  int error = 0;
  if (file == nullptr || file->pMethods == nullptr) return 0;
  const int code = file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
  return code == SQLITE_OK ? error : 0;
}

bool is_damage(int code) {
  const int kind = code & 0xff;
  return kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB;
}

}  // namespace mtd::task
