// StoreThread: a TaskStore beside an event loop. Operations that come while a batch is written are
// written together with the next one, and while the disk is synced the next batch is written
// already: so at a low rate nothing waits for company, and at a high one a sync is shared by all
// that was written while the one before it lasted.
//
// A put is told when it is written, so that its task can be begun, and once more when the disk has
// it (StoreSynced). A task that ends soon needs one sync for both: it waits a moment for the end,
// as long as such moments prove worth while.
//
// Two threads, of which at most one writes and at most one syncs. Whoever has written syncs, unless
// the other one does and will go on with it. Where both are at rest, a single put is written by the
// loop itself, into the kernel's memory: to hand it over and back would take as long as it does. A
// write that has made wait is one of the threads' again, for ever longer as long as that goes on.
//
// Never fork without exec while it lives: a copy of an open store that ends in an orderly way would
// write into it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "common/result.h"
#include "daemon/broker/store/store.h"
#include "daemon/sys/thread.h"
#include "daemon/sys/wake_fd.h"

namespace mtd::task {

inline constexpr std::size_t kMostInCommit = 256;

struct StoreReplied {
  std::uint64_t token = 0;
  StoreReply reply;
};
// So many puts that need a sync, the next ones in the order of their completions, have had it.
struct StoreSynced {
  std::uint32_t puts = 0;
  bool kept = true;  // false: it has failed
};
using StoreOutput = std::variant<StoreDone, StoreReplied, StoreSynced>;
// A put that StoreSynced is to follow.
[[nodiscard]] bool is_unsynced_put(const StoreDone& done);

class StoreThread {
 public:
  // Everything that is asked of the store from now on happens on the thread.
  [[nodiscard]] static Result<std::unique_ptr<StoreThread>> start(std::unique_ptr<TaskStore> store);
  // Commits what was submitted, then ends the thread and closes the store.
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  // In order, among each other and with questions.
  void submit(std::vector<StoreOp> ops);
  // Instead of submit(): what became of a put that StoreSynced is to follow, if nothing else is
  // under way. Nothing: it has to be submitted, and is as it was. Its sync is begun by
  // begin_sync(), which is to be called soon: a thread that is woken takes a processor from whoever
  // is woken next.
  [[nodiscard]] std::optional<StoreDone> put_at_once(StoreOp& op);
  void begin_sync();
  void ask(std::uint64_t token, StoreQuestion question);

  // Readable while there is output.
  [[nodiscard]] int fd() const { return wake_.fd(); }
  // What waits for a sync, and replies, in the order of what was submitted and asked; all else, in
  // its order, as soon as it is written.
  [[nodiscard]] std::vector<StoreOutput> take();

 private:
  struct Question {
    std::uint64_t token = 0;
    StoreQuestion question;
  };
  using Input = std::variant<StoreOp, Question>;

  StoreThread(std::unique_ptr<TaskStore> store, sys::WakeFd wake)
      : store_(std::move(store)), wake_(std::move(wake)) {}
  void run();
  [[nodiscard]] bool may_write() const { return !writing_ && !input_.empty(); }
  [[nodiscard]] bool may_sync() const {
    return !writing_ && !syncing_ && !waits_ && !unsynced_.empty();
  }
  [[nodiscard]] bool is_at_rest() const {
    return !writing_ && !syncing_ && input_.empty() && output_.empty() && !ending_;
  }
  void write(std::unique_lock<std::mutex>& hold);
  void sync_all(std::unique_lock<std::mutex>& hold);
  [[nodiscard]] bool is_worth_waiting() const;
  [[nodiscard]] bool wait_for_more(std::unique_lock<std::mutex>& hold);
  void put_out(std::unique_lock<std::mutex>& hold, std::vector<StoreOutput> output);
  void call_for_input(bool is_waited_for);
  [[nodiscard]] std::vector<StoreOp> next_batch();
  [[nodiscard]] std::vector<StoreOutput> synced(std::vector<StoreOutput> output);

  std::unique_ptr<TaskStore> store_;
  sys::WakeFd wake_;
  std::mutex lock_;
  std::condition_variable has_input_;
  std::condition_variable has_more_;  // for the one who waits for what goes into the next sync
  std::deque<Input> input_;
  std::vector<StoreOutput> unsynced_;  // written; told after the next sync
  std::vector<StoreOutput> output_;
  bool writing_ = false, syncing_ = false, ending_ = false;
  bool waits_ = false;                // somebody waits for what goes into the next sync
  bool waited_ = false;               // … or has done so
  std::uint32_t misses_ = 0;          // waits for nothing, one after the other
  std::uint32_t no_wait_before_ = 0;  // syncs that begin at once before it is tried again
  bool sync_owed_ = false;            // of a put by the loop
  std::uint32_t slow_ = 0;            // puts by the loop that made it wait, one after the other
  std::uint32_t handed_over_ = 0;     // puts that are the threads' before it tries again
  sys::Thread threads_[2];            // last: joined before the rest goes
};

}  // namespace mtd::task
