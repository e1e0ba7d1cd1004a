// The database of tasks: its tables, its statements, and the one mapping between rows and values.
//
// live and dead are for the indices: live is 1 until a task is final, then NULL; dead is NULL until
// then, 1 for dead letters and 0 for the others. So an index changes only when a task begins or
// ends, not with each attempt. Bodies and answers beyond kInlineBytes stand in tables of their own,
// since each change of a row writes all of it.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/broker/store/sqlite.h"
#include "daemon/broker/store/store.h"

namespace mtd::task {

inline constexpr std::int64_t kApplicationId = 0x6d746474;  // "mtdt"
inline constexpr std::int64_t kSchemaVersion = 1;
inline constexpr std::size_t kInlineBytes = 1024;

extern const char* const kSchema;
// Indices that came later: a database without them gets them.
extern const char* const kLaterIndices;

// Columns of a task in the order in which read_row() takes them.
extern const char* const kRowColumns;
[[nodiscard]] TaskRow read_row(Statement& statement);
// Columns of a body and of an answer, and of where they stand; after kRowColumns.
enum class Kept : std::int64_t { nowhere = 0, in_row = 1, apart = 2 };

}  // namespace mtd::task
