// Questions: what operators and clients ask about tasks, and what a broker reads at its start.
#include <algorithm>

#include "daemon/broker/store/memory_store.h"
#include "daemon/broker/store/sqlite_schema.h"
#include "daemon/broker/store/sqlite_store.h"

namespace mtd::task {
namespace {

std::int64_t signed_of(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

// The conditions of a filter, and their values.
struct Conditions {
  std::string sql;
  std::vector<std::string_view> texts;

  void add(std::string_view condition) {
    sql += sql.empty() ? " WHERE " : " AND ";
    sql += condition;
  }
  void add_text(std::string_view condition, std::string_view value) {
    if (value.empty()) return;
    add(condition);
    texts.push_back(value);
  }
  void bind(Statement& statement) const {
    int at = 1;
    for (const std::string_view text : texts)
      statement.bind_text(at++, text);
  }
};

// With what lets an index serve for them.
void add_states(Conditions& conditions, const std::vector<TaskState>& states) {
  if (states.empty()) return;
  std::string list;
  bool all_live = true, all_dead = true;
  for (const TaskState state : states) {
    list += (list.empty() ? "" : ",") + std::to_string(static_cast<int>(state));
    all_live = all_live && !is_final(state);
    all_dead = all_dead && state == TaskState::dead;
  }
  if (all_dead) return conditions.add("dead=1");
  if (all_live) conditions.add("live=1");
  conditions.add("state IN(" + list + ")");
}

Conditions conditions_of(const TaskFilter& filter) {
  Conditions conditions;
  if (filter.after.value != 0) conditions.add("task.id>" + std::to_string(filter.after.value));
  conditions.add_text("pool=(SELECT id FROM pool WHERE name=?)", filter.pool);
  conditions.add_text("grp=?", filter.group);
  add_states(conditions, filter.states);
  return conditions;
}

// The last attempt of a task that is done stands in its row.
void add_success(const TaskRow& row, std::vector<AttemptRecord>& history) {
  const TaskFacts& facts = row.facts;
  if (facts.state != TaskState::done || facts.counters.attempts == 0) return;
  if (!history.empty() && history.back().attempt == facts.counters.attempts) return;
  history.push_back({facts.counters.attempts, facts.worker, facts.started, row.finished,
                     AttemptOutcome::done, Death()});
  if (history.size() > kHistoryDepth) history.erase(history.begin());
}

}  // namespace

Result<StoreContents> SqliteStore::load() {
  StoreContents contents;
  int code = read(contents);
  if (is_damage(code)) {
    if (auto anew = begin_anew(code); !anew) return anew.error();
    contents = {};
    code = read(contents);
  }
  if (code == SQLITE_OK) return contents;
  note_failure(code, "read");
  return Error{message_, 0};
}

int SqliteStore::read(StoreContents& contents) {
  std::int64_t last = 0, kept = 0;
  int code = database_.number("SELECT MAX(id) FROM task", last);
  if (code == SQLITE_OK)
    code = database_.number("SELECT value FROM meta WHERE name='last_id'", kept);
  if (code != SQLITE_OK) return code;
  last_id_ = static_cast<std::uint64_t>(std::max(last, kept));
  contents.last_id.value = last_id_;
  Statement live;
  code = database_.prepare(
      live, std::string("SELECT ") + kRowColumns + " FROM task WHERE live IS NOT NULL");
  for (code = code == SQLITE_OK ? live.step() : code; code == SQLITE_ROW; code = live.step()) {
    TaskRow row = read_row(live);
    if (another_life_) row.facts.worker.incarnation = 0;
    contents.pools[row.pool].tasks.push_back(std::move(row.facts));
  }
  if (!is_success(code)) return code;
  Statement oldest;
  code = database_.prepare(
      oldest,
      "SELECT pool.name,(SELECT MIN(finished) FROM task WHERE pool=pool.id AND dead=0),"
      "(SELECT MIN(finished) FROM task WHERE pool=pool.id AND dead=1) FROM pool");
  for (code = code == SQLITE_OK ? oldest.step() : code; code == SQLITE_ROW; code = oldest.step()) {
    Recovered& pool = contents.pools[oldest.text(0)];
    if (!oldest.is_null(1)) pool.oldest_done.ns = oldest.number(1);
    if (!oldest.is_null(2)) pool.oldest_dead.ns = oldest.number(2);
  }
  if (!is_success(code)) return code;
  return SQLITE_OK;
}

StoreReply SqliteStore::answer(const StoreQuestion& question) {
  StoreReply result;
  note_failed_sync();
  if (failed_ && !std::holds_alternative<DescribeStore>(question)) {
    result.error = message_;
    return result;
  }
  const int code = std::visit([&](const auto& which) { return reply(which, result); }, question);
  if (code == SQLITE_OK) return result;
  if (!is_want_of_room(code)) note_failure(code, "read");
  result = StoreReply();
  result.error = failed_ ? message_ : "there is no room for an answer";
  return result;
}

int SqliteStore::read_body(std::int64_t id, BodyRef& body) {
  Statement read;
  int code = database_.prepare(
      read,
      "SELECT task.uid,task.name,coalesce(body.args,task.args),coalesce(body.data,task.data) "
      "FROM task LEFT JOIN body ON body.task=task.id WHERE task.id=?1");
  if (code != SQLITE_OK) return code;
  read.bind(1, id);
  code = read.step();
  if (code == SQLITE_ROW)
    body = std::make_shared<TaskBody>(
        TaskBody{read.text(0), read.text(1), read.text(2), read.text(3)});
  return is_success(code) ? SQLITE_OK : code;
}

int SqliteStore::read_answer(std::int64_t id, AnswerRef& answer) {
  Statement read;
  int code = database_.prepare(
      read,
      "SELECT task.answer,coalesce(answer.result,task.result),"
      "coalesce(answer.data,task.answer_data),coalesce(answer.file,task.file),"
      "coalesce(answer.error,task.error) "
      "FROM task LEFT JOIN answer ON answer.task=task.id AND task.answer=2 WHERE task.id=?1");
  if (code != SQLITE_OK) return code;
  read.bind(1, id);
  code = read.step();
  if (code == SQLITE_ROW && static_cast<Kept>(read.number(0)) != Kept::nowhere)
    answer =
        std::make_shared<Answer>(Answer{read.text(1), read.text(2), read.text(3), read.text(4)});
  return is_success(code) ? SQLITE_OK : code;
}

int SqliteStore::read_history(std::int64_t id, std::vector<AttemptRecord>& history) {
  Statement read;
  int code = database_.prepare(
      read,
      "SELECT attempt,slot,incarnation,started,ended,outcome,death,death_number FROM attempt "
      "WHERE task=?1 ORDER BY attempt");
  if (code != SQLITE_OK) return code;
  read.bind(1, id);
  for (code = read.step(); code == SQLITE_ROW; code = read.step()) {
    AttemptRecord record;
    record.attempt = static_cast<std::uint32_t>(read.number(0));
    record.worker.slot = static_cast<std::uint32_t>(read.number(1));
    record.worker.incarnation = static_cast<std::uint64_t>(read.number(2));
    record.started.ns = read.number(3);
    record.ended.ns = read.number(4);
    record.outcome = static_cast<AttemptOutcome>(read.number(5));
    record.death.cause = static_cast<DeathCause>(read.number(6));
    record.death.number = static_cast<int>(read.number(7));
    history.push_back(record);
  }
  return is_success(code) ? SQLITE_OK : code;
}

int SqliteStore::reply(const FindTask& question, StoreReply& reply) {
  Statement find;
  const bool by_id = question.id.value != 0;
  int code = database_.prepare(find, std::string("SELECT ") + kRowColumns + " FROM task WHERE " +
                                         (by_id ? "id=?1" : "uid=?1"));
  if (code != SQLITE_OK) return code;
  if (by_id) find.bind(1, signed_of(question.id.value));
  if (!by_id) find.bind_text(1, question.uid);
  code = find.step();
  if (!is_success(code)) return code;
  if (code != SQLITE_ROW) return SQLITE_OK;
  FoundTask& task = reply.tasks.emplace_back();
  task.row = read_row(find);
  const std::int64_t id = signed_of(task.row.facts.id.value);
  code = SQLITE_OK;
  if (question.with_body) code = read_body(id, task.body);
  if (code == SQLITE_OK && question.with_answer) code = read_answer(id, task.answer);
  if (code == SQLITE_OK && question.with_history) {
    code = read_history(id, task.history);
    add_success(task.row, task.history);
  }
  return code;
}

int SqliteStore::reply(const ListTasks& question, StoreReply& reply) {
  const Conditions conditions = conditions_of(question.filter);
  const std::uint32_t most = std::min(question.filter.limit, kMostListed);
  Statement list;
  int code =
      database_.prepare(list, std::string("SELECT ") + kRowColumns + " FROM task" + conditions.sql +
                                  " ORDER BY task.id LIMIT " + std::to_string(most));
  if (code != SQLITE_OK) return code;
  conditions.bind(list);
  for (code = list.step(); code == SQLITE_ROW; code = list.step())
    reply.tasks.emplace_back().row = read_row(list);
  if (!is_success(code)) return code;
  if (!question.with_answer) return SQLITE_OK;
  for (FoundTask& task : reply.tasks) {
    code = read_answer(signed_of(task.row.facts.id.value), task.answer);
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::reply(const CountTasks& question, StoreReply& reply) {
  const TaskFilter filter{question.pool, question.group, {}, {}, 0};
  const Conditions conditions = conditions_of(filter);
  Statement count;
  int code = database_.prepare(
      count, "SELECT state,COUNT(*) FROM task" + conditions.sql + " GROUP BY state");
  if (code != SQLITE_OK) return code;
  conditions.bind(count);
  for (code = count.step(); code == SQLITE_ROW; code = count.step()) {
    const auto state = static_cast<std::size_t>(count.number(0));
    if (state < std::size(reply.counts.by_state))
      reply.counts.by_state[state] = static_cast<std::uint64_t>(count.number(1));
  }
  return is_success(code) ? SQLITE_OK : code;
}

int SqliteStore::reply(const RemoveTasks& question, StoreReply& reply) {
  Conditions conditions = conditions_of(question.filter);
  conditions.add("dead IS NOT NULL");
  Statement which;
  int code = database_.prepare(which, "SELECT task.id FROM task" + conditions.sql +
                                          " ORDER BY task.id LIMIT " +
                                          std::to_string(question.filter.limit));
  if (code != SQLITE_OK) return code;
  conditions.bind(which);
  StoreDone done;
  code = statement(Sql::begin).run();
  if (code == SQLITE_OK) code = remove_where(which, done);
  if (code == SQLITE_OK) code = keep_last_id();
  if (code == SQLITE_OK) code = statement(Sql::commit).run();
  code = with_wants(code, database_.log());
  if (code != SQLITE_OK) roll_back();
  reply.removed = done.removed;
  if (code == SQLITE_OK) reply.files = std::move(done.files);
  return code;
}

int SqliteStore::reply(const DescribeStore&, StoreReply& reply) {
  reply.description.health = health();
  reply.description.path = options_.path;
  reply.description.message = message_.empty() ? note_ : message_;
  std::uint64_t used = 0;
  if (!failed_ && used_bytes(used) == SQLITE_OK) reply.description.bytes = used + file_bytes();
  return SQLITE_OK;
}

}  // namespace mtd::task
