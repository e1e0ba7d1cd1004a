// SqliteStore: tasks in one SQLite file, in WAL mode, through one connection that nobody shares
// (locking_mode=EXCLUSIVE: a second mtd is refused, and a known defect of WAL with two connections
// in the SQLite of Debian 12 cannot show).
//
// SQLite writes without waiting for the disk (synchronous=NORMAL: before a checkpoint only); sync()
// then asks it to keep the log of what was written. So claims, whose loss with the power breaks no
// promise, need not wait for the sync of what came with them.
//
// Room: `quota` bounds the file; a part of it is kept for what goes on with tasks that are there,
// so that puts are refused before claims and answers are: a store that its own tasks have filled
// makes room by ending them. On a full disk a ballast file is given up, and puts are refused; when
// that is used up, claims as well. A probe lets claims be tried again, and one that can take the
// ballast again ends it. Any other error of writing, a failed fsync above all, is final.
//
// A damaged database is set aside as PATH.bad.TIME, never deleted, and an empty one is begun, also
// where load() finds the damage; what happened stands in note(). A database that is somebody
// else's, or of a newer mtd, is an error.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/broker/store/log_file.h"
#include "daemon/broker/store/sqlite.h"
#include "daemon/broker/store/store.h"
#include "daemon/sys/ballast.h"
#include "daemon/sys/spool_file.h"

namespace mtd::task {

struct SqliteOptions {
  std::string path;  // its directory exists
  std::uint64_t quota = 4ULL << 30U;
  std::uint64_t ballast = 4ULL << 20U;  // 0: none
  // Names the boot of the machine. After another one the whole file is checked for damage.
  std::string boot_id;
  // Names the life of mtd that numbers the workers; in another one nobody has what was running, and
  // the same numbers mean other workers. Empty: not looked at.
  std::string life;
  // Where the answers' files are, and how many bytes they have: they count for the quota.
  std::string files;
  std::shared_ptr<const std::atomic<std::uint64_t>> file_bytes;
  // The largest id a task had that nobody knows any more: of a database that is set aside. Its
  // numbers are not given again, since workers may have such tasks still.
  std::uint64_t last_id_anew = 0;
  std::string time;           // for the name of a database that is set aside
  const char* vfs = nullptr;  // SQLite's layer to the system; nullptr: the usual one
};

class SqliteStore final : public TaskStore {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SqliteStore>> open(SqliteOptions options);
  ~SqliteStore() override;

  [[nodiscard]] Result<StoreContents> load() override;
  [[nodiscard]] std::vector<StoreDone> write(std::vector<StoreOp> batch) override;
  [[nodiscard]] bool sync() override;
  // What follows a checkpoint begins the log anew, and SQLite syncs its beginning.
  [[nodiscard]] bool writes_at_once() const override { return wal_pages_ > 0; }
  [[nodiscard]] StoreReply answer(const StoreQuestion& question) override;
  [[nodiscard]] StoreHealth health() const override;
  void tidy() override;

  // What was found at opening or loading and an operator should know; empty: nothing.
  [[nodiscard]] const std::string& note() const { return note_; }

 private:
  // One prepared statement each; the texts are in sqlite_statements.cpp.
  enum class Sql : std::size_t {
    begin,
    commit,
    rollback,
    insert,
    find_uid,
    find_unique,
    insert_body,
    claim,
    read_body,
    finish,
    finish_answered,
    requeue,
    insert_attempt,
    prune_attempts,
    insert_answer,
    set_answer,
    promote,
    cancel,
    revive,
    forget_attempts,
    forget_answer,
    forget_body,
    file_apart,
    oldest,
    collect,
    remove,
    find_pool,
    insert_pool,
    set_meta,
    page_count,
    free_pages,
    kCount,
  };

  explicit SqliteStore(SqliteOptions options);

  // Opening (sqlite_open.cpp). SQLite's codes.
  [[nodiscard]] int open_file();
  [[nodiscard]] Result<void> keep_names();
  [[nodiscard]] int configure();
  [[nodiscard]] Result<void> identify(int& code);
  [[nodiscard]] int make_schema();
  [[nodiscard]] int check_damage();
  [[nodiscard]] int begin_life();
  [[nodiscard]] int prepare_all();
  [[nodiscard]] Result<void> open_or_set_aside();
  [[nodiscard]] Result<void> open_as_it_is(int& code, bool is_anew);
  [[nodiscard]] Result<void> begin_anew(int code);
  [[nodiscard]] int add_indices();
  void suspect() const;
  [[nodiscard]] bool is_suspected() const;
  void clear_suspicion() const;
  [[nodiscard]] std::string set_aside(int code);
  [[nodiscard]] int keep_ids_apart();
  void close_all();

  // Committing (sqlite_commit.cpp)
  [[nodiscard]] int try_write(std::vector<StoreOp>& batch, std::vector<StoreDone>& completions);
  void note_failed_sync();
  void sync_answer(const std::string& file);
  void note_files(const std::vector<StoreOp>& batch, const std::vector<StoreDone>& completions);
  [[nodiscard]] int apply(const StoreOp& op, StoreDone& done);
  [[nodiscard]] int apply(const PutOp& op, StoreDone& done);
  [[nodiscard]] int apply(const ClaimOp& op, StoreDone& done);
  [[nodiscard]] int apply(const FinishOp& op, StoreDone& done);
  [[nodiscard]] int apply(const RequeueOp& op, StoreDone& done);
  [[nodiscard]] int apply(const PromoteOp& op, StoreDone& done);
  [[nodiscard]] int apply(const CancelOp& op, StoreDone& done);
  [[nodiscard]] int apply(const ReviveOp& op, StoreDone& done);
  [[nodiscard]] int apply(const CollectOp& op, StoreDone& done);
  [[nodiscard]] int apply(const RemoveOp& op, StoreDone& done);
  [[nodiscard]] int apply(const ProbeOp& op, StoreDone& done);
  void bind_attempts(Statement& statement, std::uint32_t attempt) const;
  [[nodiscard]] int insert(std::int64_t pool, const NewTask& task, PutOutcome& outcome);
  [[nodiscard]] int keep_answer(TaskId id, const AnswerRef& answer);
  [[nodiscard]] int keep_attempt(TaskId id, const AttemptRecord& record);
  [[nodiscard]] int remove(std::int64_t id, StoreDone& done);
  [[nodiscard]] int remove_where(Statement& which, StoreDone& done);
  [[nodiscard]] int pool_id(const std::string& name, std::int64_t& id);
  [[nodiscard]] int keep_last_id();
  void roll_back();
  void note_failure(int code, const char* doing);

  // Room (sqlite_room.cpp)
  [[nodiscard]] int used_bytes(std::uint64_t& used);
  [[nodiscard]] bool is_over_quota(std::uint64_t used, std::uint64_t more) const;
  [[nodiscard]] bool may_grow(const std::vector<StoreOp>& batch);
  [[nodiscard]] int checkpoint();
  [[nodiscard]] int give_back(int pages);
  [[nodiscard]] std::uint64_t free_pages();
  void note_failed_checkpoint(int code);
  [[nodiscard]] bool take_ballast();
  void refuse_growth();
  void narrow();
  void give_up_ballast();
  [[nodiscard]] bool is_refused(const StoreOp& op) const;
  [[nodiscard]] std::uint64_t file_bytes() const {
    return options_.file_bytes ? options_.file_bytes->load() : 0;
  }

  // Questions (sqlite_questions.cpp)
  [[nodiscard]] int read(StoreContents& contents);
  [[nodiscard]] int reply(const FindTask& question, StoreReply& reply);
  [[nodiscard]] int reply(const ListTasks& question, StoreReply& reply);
  [[nodiscard]] int reply(const CountTasks& question, StoreReply& reply);
  [[nodiscard]] int reply(const RemoveTasks& question, StoreReply& reply);
  [[nodiscard]] int reply(const DescribeStore& question, StoreReply& reply);
  [[nodiscard]] int read_body(std::int64_t id, BodyRef& body);
  [[nodiscard]] int read_answer(std::int64_t id, AnswerRef& answer);
  [[nodiscard]] int read_history(std::int64_t id, std::vector<AttemptRecord>& history);

  [[nodiscard]] Statement& statement(Sql which) {
    return statements_[static_cast<std::size_t>(which)];
  }
  static const std::array<const char*, static_cast<std::size_t>(Sql::kCount)> kTexts;

  SqliteOptions options_;
  sys::Ballast ballast_;
  sys::SyncedDirectory files_;
  LogFile log_;  // for sync(), which runs beside everything else; outlives the connection
  Database database_;
  std::array<Statement, static_cast<std::size_t>(Sql::kCount)> statements_;
  std::unordered_map<std::string, std::int64_t> pools_;
  std::uint64_t last_id_ = 0;
  bool last_id_kept_ = true;
  bool apart_ = false;  // of the operation that is being applied: claimed_apart
  enum class Room : std::uint8_t { enough, for_what_is_there, for_ends_only };
  Room room_ = Room::enough;
  bool failed_ = false;
  bool another_life_ = false;  // and there was no room to write that down
  int wal_pages_ = 0;          // since the last checkpoint
  std::mutex files_lock_;
  std::vector<std::string> unsynced_files_;  // for sync() as well
  std::string message_;
  std::string damage_;  // what the look at the whole of it has found
  std::string note_;
};

}  // namespace mtd::task
