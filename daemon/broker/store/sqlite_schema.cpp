#include "daemon/broker/store/sqlite_schema.h"

namespace mtd::task {

const char* const kSchema = R"(
CREATE TABLE pool(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE task(
  id INTEGER PRIMARY KEY, pool INTEGER NOT NULL, live INTEGER, dead INTEGER, finished INTEGER,
  state INTEGER NOT NULL, priority INTEGER NOT NULL, ord INTEGER NOT NULL,
  attempts INTEGER NOT NULL, failures INTEGER NOT NULL, crashes INTEGER NOT NULL,
  recoveries INTEGER NOT NULL, max_attempts INTEGER NOT NULL, timeout INTEGER,
  due INTEGER NOT NULL, due_by_wall INTEGER NOT NULL, expires INTEGER NOT NULL,
  created INTEGER NOT NULL, started INTEGER NOT NULL, slot INTEGER NOT NULL,
  incarnation INTEGER NOT NULL, cancel INTEGER, durability INTEGER NOT NULL,
  bytes INTEGER NOT NULL, reason INTEGER NOT NULL, death INTEGER NOT NULL,
  death_number INTEGER NOT NULL, uid TEXT, name TEXT, grp TEXT, ukey TEXT,
  body INTEGER NOT NULL, args TEXT, data BLOB,
  answer INTEGER NOT NULL, result TEXT, answer_data BLOB, file TEXT, error TEXT);
CREATE UNIQUE INDEX task_uid ON task(uid) WHERE uid IS NOT NULL;
CREATE UNIQUE INDEX task_unique ON task(pool, ukey) WHERE ukey IS NOT NULL AND live IS NOT NULL;
CREATE INDEX task_live ON task(live) WHERE live IS NOT NULL;
CREATE INDEX task_final ON task(pool, dead, finished) WHERE dead IS NOT NULL;
CREATE INDEX task_group ON task(grp) WHERE grp IS NOT NULL;
CREATE TABLE body(task INTEGER PRIMARY KEY, args TEXT, data BLOB);
CREATE TABLE answer(task INTEGER PRIMARY KEY, result TEXT, data BLOB, file TEXT, error TEXT);
CREATE TABLE attempt(task INTEGER, attempt INTEGER, slot INTEGER, incarnation INTEGER,
  started INTEGER, ended INTEGER, outcome INTEGER, death INTEGER, death_number INTEGER,
  PRIMARY KEY(task, attempt)) WITHOUT ROWID;
)";

// Dead letters of a pool in the order of their ids, however many others there are.
const char* const kLaterIndices =
    "CREATE INDEX IF NOT EXISTS task_dead_letter ON task(pool) WHERE dead=1";

const char* const kRowColumns =
    "task.id,(SELECT name FROM pool WHERE pool.id=task.pool),state,priority,ord,attempts,failures,"
    "crashes,recoveries,max_attempts,timeout,due,due_by_wall,expires,created,started,slot,"
    "incarnation,cancel,durability,bytes,reason,death,death_number,finished,uid,name,grp,ukey";

TaskRow read_row(Statement& row) {
  int at = 0;
  const auto number = [&] { return row.number(at++); };
  const auto small = [&] { return static_cast<std::uint32_t>(row.number(at++)); };
  TaskRow task;
  TaskFacts& facts = task.facts;
  facts.id.value = static_cast<std::uint64_t>(number());
  task.pool = row.text(at++);
  facts.state = static_cast<TaskState>(number());
  facts.priority = static_cast<std::int32_t>(number());
  facts.order = static_cast<std::uint64_t>(number());
  facts.counters.attempts = small();
  facts.counters.failures = small();
  facts.counters.crashes = small();
  facts.counters.recoveries = small();
  facts.max_attempts = small();
  if (!row.is_null(at)) facts.timeout = Duration::nanoseconds(row.number(at));
  ++at;
  facts.due.ns = number();
  facts.due_by_wall = number() != 0;
  facts.expires.ns = number();
  facts.created.ns = number();
  facts.started.ns = number();
  facts.worker.slot = small();
  facts.worker.incarnation = static_cast<std::uint64_t>(number());
  if (!row.is_null(at)) facts.cancel = static_cast<Reason>(row.number(at));
  ++at;
  facts.durability = static_cast<Durability>(number());
  facts.bytes = static_cast<std::uint64_t>(number());
  task.reason = static_cast<Reason>(number());
  task.death.cause = static_cast<DeathCause>(number());
  task.death.number = static_cast<int>(number());
  task.finished.ns = number();
  task.uid = row.text(at++);
  task.name = row.text(at++);
  facts.group = row.text(at++);
  facts.unique = row.text(at++);
  return task;
}

}  // namespace mtd::task
