// Commits: one transaction a batch, and what becomes of a batch for which there is no room.
#include <algorithm>
#include <utility>

#include "daemon/broker/store/sqlite_schema.h"
#include "daemon/broker/store/sqlite_store.h"

namespace mtd::task {
namespace {

std::int64_t signed_of(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

std::size_t bytes_of(const Answer& answer) {
  return answer.result.size() + answer.data.size() + answer.error.size() + answer.file.size();
}

// The attempt that was the task's success stands in its own row: most tasks have no other.
bool is_told_by_row(const FinishOp& op) {
  AttemptRecord told;
  told.attempt = op.attempt;
  told.worker = op.record->worker;
  told.started = op.record->started;
  told.ended = op.finished;
  return op.state == TaskState::done && *op.record == told;
}

// Four columns in a row.
void bind_answer(Statement& statement, int first, const Answer& answer) {
  statement.bind_text(first, answer.result);
  statement.bind_blob(first + 1, answer.data);
  statement.bind_text(first + 2, answer.file);
  statement.bind_text(first + 3, answer.error);
}

}  // namespace

std::vector<StoreDone> SqliteStore::write(std::vector<StoreOp> batch) {
  std::vector<StoreDone> completions(batch.size());
  note_failed_sync();
  for (std::size_t i = 0; i < batch.size() && !failed_; ++i) {
    if (std::holds_alternative<ProbeOp>(batch[i].what))
      (void)apply(std::get<ProbeOp>(batch[i].what), completions[i]);
  }
  if (!failed_ && room_ == Room::enough && !may_grow(batch)) refuse_growth();
  int code = failed_ ? SQLITE_IOERR : try_write(batch, completions);
  while (is_want_of_room(code) && room_ != Room::for_ends_only) {
    narrow();  // once more, with the ballast's room and without what can wait
    code = failed_ ? SQLITE_IOERR : try_write(batch, completions);
  }
  if (code == SQLITE_OK) note_files(batch, completions);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (code != SQLITE_OK) {
      completions[i] = StoreDone();
      completions[i].status = is_want_of_room(code) ? StoreStatus::full : StoreStatus::failed;
    }
    completions[i].op = std::move(batch[i]);
  }
  if (code != SQLITE_OK && !is_want_of_room(code)) note_failure(code, "write");
  return completions;
}

int SqliteStore::try_write(std::vector<StoreOp>& batch, std::vector<StoreDone>& completions) {
  bool any = false;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const bool is_probe = std::holds_alternative<ProbeOp>(batch[i].what);
    if (is_probe) continue;
    completions[i] = StoreDone();
    if (is_refused(batch[i])) {
      completions[i].status = StoreStatus::full;
      continue;
    }
    any = true;
  }
  if (!any) return SQLITE_OK;
  int code = statement(Sql::begin).run();
  for (std::size_t i = 0; i < batch.size() && code == SQLITE_OK; ++i) {
    if (completions[i].status == StoreStatus::full) continue;
    if (std::holds_alternative<ProbeOp>(batch[i].what)) continue;
    code = apply(batch[i], completions[i]);
  }
  if (code == SQLITE_OK) code = keep_last_id();
  if (code == SQLITE_OK) code = statement(Sql::commit).run();
  if (code != SQLITE_OK) roll_back();
  return with_wants(code, database_.log());
}

void SqliteStore::roll_back() {
  for (Statement& statement : statements_)
    statement.reset();
  if (database_.in_transaction()) (void)statement(Sql::rollback).run();
  pools_.clear();  // one of them may have been new
}

// Results that stand in files are to be on the disk when their ends are said to be.
void SqliteStore::note_files(const std::vector<StoreOp>& batch,
                             const std::vector<StoreDone>& completions) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto* finish = std::get_if<FinishOp>(&batch[i].what);
    if (finish == nullptr || !finish->answer || finish->answer->file.empty()) continue;
    if (completions[i].status != StoreStatus::committed || !needs_sync(batch[i])) continue;
    const std::lock_guard hold(files_lock_);
    unsynced_files_.push_back(finish->answer->file);
  }
}

// The log is a file that SQLite opened; syncing it is what SQLite itself does after a commit with
// synchronous=FULL. It stays open as long as the database.
bool SqliteStore::sync() {
  std::vector<std::string> files;
  {
    const std::lock_guard hold(files_lock_);
    files = std::exchange(unsynced_files_, {});
  }
  for (const std::string& file : files)
    sync_answer(file);
  return log_.sync();
}

// For want of room or of descriptors it costs this answer, which is told as lost to whoever wants
// it; never the store.
void SqliteStore::sync_answer(const std::string& file) {
  const auto synced = files_.sync(file);
  if (synced) return;
  if (!sys::is_passing_want(synced.error().errno_value)) return log_.give_up();
  sys::remove_file(files_.path_of(file));
}

// Never tried again: what a failed fsync leaves on the disk nobody knows.
void SqliteStore::note_failed_sync() {
  if (log_.has_failed()) note_failure(SQLITE_IOERR_FSYNC, "sync");
}

void SqliteStore::note_failure(int code, const char* doing) {
  if (failed_) return;
  failed_ = true;
  if (is_damage(code)) suspect();
  message_ = std::string("the database of tasks cannot be used any more: ") + doing + ": " +
             sqlite3_errstr(code) + " (code " + std::to_string(code) + ")";
}

int SqliteStore::apply(const StoreOp& op, StoreDone& done) {
  apart_ = op.claimed_apart;
  return std::visit([&](const auto& what) { return apply(what, done); }, op.what);
}

int SqliteStore::pool_id(const std::string& name, std::int64_t& id) {
  const auto known = pools_.find(name);
  if (known != pools_.end()) {
    id = known->second;
    return SQLITE_OK;
  }
  {
    Use find(statement(Sql::find_pool));
    find->bind_text(1, name);
    const int code = find->step();
    if (!is_success(code)) return code;
    if (code == SQLITE_ROW) {
      id = find->number(0);
      pools_[name] = id;
      return SQLITE_OK;
    }
  }
  Statement& insert = statement(Sql::insert_pool);
  insert.bind_text(1, name);
  const int code = insert.run();
  if (code != SQLITE_OK) return code;
  id = sqlite3_last_insert_rowid(database_.raw());
  pools_[name] = id;
  return SQLITE_OK;
}

int SqliteStore::apply(const PutOp& op, StoreDone& done) {
  std::int64_t pool = 0;
  int code = pool_id(op.pool, pool);
  for (const NewTask& task : op.tasks) {
    if (code != SQLITE_OK) return code;
    code = insert(pool, task, done.puts.emplace_back());
  }
  return code;
}

int SqliteStore::insert(std::int64_t pool, const NewTask& task, PutOutcome& outcome) {
  static const TaskBody kEmpty;
  const TaskFacts& facts = task.facts;
  const TaskBody& body = task.body ? *task.body : kEmpty;
  const bool apart = body.args.size() + body.data.size() > kInlineBytes;
  Statement& insert = statement(Sql::insert);
  insert.bind(1, signed_of(facts.id.value));
  insert.bind(2, pool);
  insert.bind(3, static_cast<std::int64_t>(facts.state));
  insert.bind(4, facts.priority);
  insert.bind(5, signed_of(facts.order));
  insert.bind(6, facts.max_attempts);
  if (facts.timeout) insert.bind(7, facts.timeout->count_ns());
  insert.bind(8, facts.due.ns);
  insert.bind(9, facts.due_by_wall ? 1 : 0);
  insert.bind(10, facts.expires.ns);
  insert.bind(11, facts.created.ns);
  insert.bind(12, static_cast<std::int64_t>(facts.durability));
  insert.bind(13, signed_of(facts.bytes));
  insert.bind_text(14, body.uid);
  insert.bind_text(15, body.name);
  insert.bind_text(16, facts.group);
  insert.bind_text(17, facts.unique);
  insert.bind(18, static_cast<std::int64_t>(apart ? Kept::apart : Kept::in_row));
  if (!apart) insert.bind_text(19, body.args);
  if (!apart) insert.bind_blob(20, body.data);
  int code = insert.run();
  if (code != SQLITE_OK) return code;
  outcome = {facts.id, Existed::no};
  if (database_.changes() == 0) {
    const bool by_uid = !body.uid.empty();
    for (const bool uid : {true, false}) {
      if (uid && !by_uid) continue;
      Use find(statement(uid ? Sql::find_uid : Sql::find_unique));
      if (uid) find->bind_text(1, body.uid);
      if (!uid) find->bind(1, pool);
      if (!uid) find->bind_text(2, facts.unique);
      code = find->step();
      if (!is_success(code)) return code;
      if (code != SQLITE_ROW) continue;
      outcome.id.value = static_cast<std::uint64_t>(find->number(0));
      outcome.existed = uid ? Existed::by_uid : Existed::by_unique;
      return SQLITE_OK;
    }
    return SQLITE_CONSTRAINT;  // an id that was given twice
  }
  last_id_ = std::max(last_id_, facts.id.value);
  if (!apart) return SQLITE_OK;
  Statement& keep = statement(Sql::insert_body);
  keep.bind(1, signed_of(facts.id.value));
  keep.bind_text(2, body.args);
  keep.bind_blob(3, body.data);
  return keep.run();
}

int SqliteStore::apply(const ClaimOp& op, StoreDone& done) {
  auto body = std::make_shared<TaskBody>();
  {
    Use claim(statement(Sql::claim));
    claim->bind(1, signed_of(op.id.value));
    claim->bind(2, op.attempt);
    claim->bind(3, op.worker.slot);
    claim->bind(4, signed_of(op.worker.incarnation));
    claim->bind(5, op.started.ns);
    int code = claim->step();
    if (!is_success(code)) return code;
    if (code != SQLITE_ROW) {
      done.status = StoreStatus::missing;
      return SQLITE_OK;
    }
    const auto kept = static_cast<Kept>(claim->number(0));
    body->uid = claim->text(1);
    body->name = claim->text(2);
    body->args = claim->text(3);
    body->data = claim->text(4);
    code = claim->step();
    if (!is_success(code)) return code;
    if (kept != Kept::apart) {
      done.body = std::move(body);
      return SQLITE_OK;
    }
  }
  Use read(statement(Sql::read_body));
  read->bind(1, signed_of(op.id.value));
  const int code = read->step();
  if (code == SQLITE_ROW) {
    body->args = read->text(0);
    body->data = read->text(1);
  }
  done.body = std::move(body);
  return is_success(code) ? SQLITE_OK : code;
}

int SqliteStore::keep_answer(TaskId id, const AnswerRef& answer) {
  if (!answer) return SQLITE_OK;
  const bool apart = bytes_of(*answer) > kInlineBytes;
  Statement& set = statement(Sql::set_answer);
  set.bind(1, signed_of(id.value));
  set.bind(2, static_cast<std::int64_t>(apart ? Kept::apart : Kept::in_row));
  if (!apart) bind_answer(set, 3, *answer);
  const int code = set.run();
  if (code != SQLITE_OK || !apart) return code;
  Statement& keep = statement(Sql::insert_answer);
  keep.bind(1, signed_of(id.value));
  bind_answer(keep, 2, *answer);
  return keep.run();
}

int SqliteStore::keep_attempt(TaskId id, const AttemptRecord& record) {
  Statement& keep = statement(Sql::insert_attempt);
  keep.bind(1, signed_of(id.value));
  keep.bind(2, record.attempt);
  keep.bind(3, record.worker.slot);
  keep.bind(4, signed_of(record.worker.incarnation));
  keep.bind(5, record.started.ns);
  keep.bind(6, record.ended.ns);
  keep.bind(7, static_cast<std::int64_t>(record.outcome));
  keep.bind(8, static_cast<std::int64_t>(record.death.cause));
  keep.bind(9, record.death.number);
  const int code = keep.run();
  if (code != SQLITE_OK || record.attempt <= kHistoryDepth) return code;
  Statement& prune = statement(Sql::prune_attempts);
  prune.bind(1, signed_of(id.value));
  prune.bind(2, kHistoryDepth);
  return prune.run();
}

// The attempts that may be on record when an operation names this one.
void SqliteStore::bind_attempts(Statement& statement, std::uint32_t attempt) const {
  statement.bind(2, apart_ && attempt > 0 ? attempt - 1 : attempt);
  statement.bind(3, attempt);
}

int SqliteStore::apply(const FinishOp& op, StoreDone& done) {
  const bool in_row = op.answer && bytes_of(*op.answer) <= kInlineBytes;
  Statement& finish = statement(in_row ? Sql::finish_answered : Sql::finish);
  finish.bind(1, signed_of(op.id.value));
  bind_attempts(finish, op.attempt);
  finish.bind(4, static_cast<std::int64_t>(op.state));
  finish.bind(5, op.state == TaskState::dead ? 1 : 0);
  finish.bind(6, op.finished.ns);
  finish.bind(7, static_cast<std::int64_t>(op.reason));
  finish.bind(8, op.counters.failures);
  finish.bind(9, op.counters.crashes);
  finish.bind(10, op.counters.recoveries);
  const Death death = op.record ? op.record->death : Death();
  finish.bind(11, static_cast<std::int64_t>(death.cause));
  finish.bind(12, death.number);
  if (op.record) {
    finish.bind(13, op.record->started.ns);
    finish.bind(14, op.record->worker.slot);
    finish.bind(15, signed_of(op.record->worker.incarnation));
  }
  if (in_row) bind_answer(finish, 16, *op.answer);
  int code = finish.run();
  if (code != SQLITE_OK) return code;
  if (database_.changes() == 0) {
    done.status = StoreStatus::missing;
    return SQLITE_OK;
  }
  if (!in_row) code = keep_answer(op.id, op.answer);
  if (code == SQLITE_OK && op.record && !is_told_by_row(op)) code = keep_attempt(op.id, *op.record);
  return code;
}

int SqliteStore::apply(const RequeueOp& op, StoreDone& done) {
  Statement& requeue = statement(Sql::requeue);
  requeue.bind(1, signed_of(op.id.value));
  bind_attempts(requeue, op.attempt);
  requeue.bind(4, static_cast<std::int64_t>(op.state));
  requeue.bind(5, op.due.ns);
  requeue.bind(6, signed_of(op.order));
  requeue.bind(7, static_cast<std::int64_t>(op.reason));
  requeue.bind(8, op.counters.failures);
  requeue.bind(9, op.counters.crashes);
  requeue.bind(10, op.counters.recoveries);
  requeue.bind(11, static_cast<std::int64_t>(op.record.death.cause));
  requeue.bind(12, op.record.death.number);
  int code = requeue.run();
  if (code != SQLITE_OK) return code;
  if (database_.changes() == 0) {
    done.status = StoreStatus::missing;
    return SQLITE_OK;
  }
  code = keep_answer(op.id, op.answer);
  return code == SQLITE_OK ? keep_attempt(op.id, op.record) : code;
}

int SqliteStore::apply(const PromoteOp& op, StoreDone& done) {
  Statement& promote = statement(Sql::promote);
  promote.bind(1, signed_of(op.id.value));
  promote.bind(2, signed_of(op.order));
  const int code = promote.run();
  if (code == SQLITE_OK && database_.changes() == 0) done.status = StoreStatus::missing;
  return code;
}

int SqliteStore::apply(const CancelOp& op, StoreDone& done) {
  Statement& cancel = statement(Sql::cancel);
  cancel.bind(1, signed_of(op.id.value));
  bind_attempts(cancel, op.attempt);
  cancel.bind(4, static_cast<std::int64_t>(op.reason));
  const int code = cancel.run();
  if (code == SQLITE_OK && database_.changes() == 0) done.status = StoreStatus::missing;
  return code;
}

int SqliteStore::apply(const ReviveOp& op, StoreDone& done) {
  std::int64_t pool = 0;
  int code = pool_id(op.pool, pool);
  if (code != SQLITE_OK) return code;
  Statement& revive = statement(Sql::revive);
  revive.bind(1, signed_of(op.id.value));
  revive.bind(2, pool);
  revive.bind(3, signed_of(op.order));
  code = revive.run();
  if (code != SQLITE_OK) return code;
  const bool revived = database_.changes() != 0;
  StoreReply found;
  FindTask which;
  which.id = op.id;
  code = reply(which, found);
  if (code != SQLITE_OK) return code;
  if (!revived) {
    const bool ended = !found.tasks.empty() && found.tasks[0].row.pool == op.pool &&
                       is_final(found.tasks[0].row.facts.state) &&
                       found.tasks[0].row.facts.state != TaskState::done;
    done.status = ended ? StoreStatus::duplicate : StoreStatus::missing;
    return SQLITE_OK;
  }
  done.facts = found.tasks.at(0).row.facts;
  for (const Sql gone : {Sql::forget_attempts, Sql::forget_answer}) {
    Statement& forget = statement(gone);
    forget.bind(1, signed_of(op.id.value));
    code = forget.run();
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// ---- Removing -----------------------------------------------------------------------------------
int SqliteStore::remove(std::int64_t id, StoreDone& done) {
  Kept body = Kept::nowhere, answer = Kept::nowhere;
  std::string file;
  bool once = true;  // an earlier attempt may have left a large error
  {
    Use remove(statement(Sql::remove));
    remove->bind(1, id);
    int code = remove->step();
    if (code != SQLITE_ROW) return is_success(code) ? SQLITE_OK : code;
    ++done.removed;
    body = static_cast<Kept>(remove->number(0));
    answer = static_cast<Kept>(remove->number(1));
    file = remove->text(2);
    once = remove->number(3) <= 1;
    code = remove->step();
    if (!is_success(code)) return code;
  }
  last_id_kept_ = false;
  if (answer == Kept::apart) {
    Use apart(statement(Sql::file_apart));
    apart->bind(1, id);
    const int code = apart->step();
    if (!is_success(code)) return code;
    if (code == SQLITE_ROW) file = apart->text(0);
  }
  if (!file.empty()) done.files.push_back(std::move(file));
  for (const Sql gone : {Sql::forget_attempts, Sql::forget_answer, Sql::forget_body}) {
    if (gone == Sql::forget_answer && answer != Kept::apart && once) continue;
    if (gone == Sql::forget_body && body != Kept::apart) continue;
    Statement& forget = statement(gone);
    forget.bind(1, id);
    const int code = forget.run();
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::remove_where(Statement& which, StoreDone& done) {
  std::vector<std::int64_t> ids;
  {
    Use rows(which);
    int code = rows->step();
    for (; code == SQLITE_ROW; code = rows->step())
      ids.push_back(rows->number(0));
    if (!is_success(code)) return code;
  }
  for (const std::int64_t id : ids) {
    const int code = remove(id, done);
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::apply(const CollectOp& op, StoreDone& done) {
  std::int64_t pool = 0;
  int code = pool_id(op.pool, pool);
  for (const bool dead : {false, true}) {
    if (code != SQLITE_OK) return code;
    Statement& collect = statement(Sql::collect);
    collect.bind(1, pool);
    collect.bind(2, dead ? 1 : 0);
    collect.bind(3, (dead ? op.dead_before : op.done_before).ns);
    collect.bind(4, op.limit - std::min(op.limit, done.removed));
    code = remove_where(collect, done);
    if (code != SQLITE_OK) return code;
    Use oldest(statement(Sql::oldest));
    oldest->bind(1, pool);
    oldest->bind(2, dead ? 1 : 0);
    code = oldest->step();
    if (!is_success(code)) return code;
    code = SQLITE_OK;
    if (!oldest->is_null(0)) (dead ? done.oldest_dead : done.oldest_done).ns = oldest->number(0);
  }
  return SQLITE_OK;
}

int SqliteStore::apply(const RemoveOp& op, StoreDone& done) {
  for (const TaskId id : op.ids) {
    const int code = remove(signed_of(id.value), done);
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// An id is never given again, though its task may have been the last one and be gone.
int SqliteStore::keep_last_id() {
  if (last_id_kept_) return SQLITE_OK;
  Statement& keep = statement(Sql::set_meta);
  keep.bind_text(1, "last_id");
  keep.bind(2, signed_of(last_id_));
  const int code = keep.run();
  if (code == SQLITE_OK) last_id_kept_ = true;
  return code;
}

}  // namespace mtd::task
