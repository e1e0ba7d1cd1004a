// StoreThread: a TaskStore on a thread of its own, beside an event loop. Operations that come while
// a commit is under way are committed together with the next one (group commit): at a low rate
// nothing waits, at a high one a commit's cost is shared by up to kMostInCommit tasks.
//
// Never fork without exec while it lives: a copy of an open store that ends in an orderly way would
// write into it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
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
using StoreOutput = std::variant<StoreDone, StoreReplied>;

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
  void ask(std::uint64_t token, StoreQuestion question);

  // Readable while there is output.
  [[nodiscard]] int fd() const { return wake_.fd(); }
  // In the order of what was submitted and asked.
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
  void work(std::vector<StoreOp> batch);
  void work(Question question);
  void put_out(std::vector<StoreOutput> output);

  std::unique_ptr<TaskStore> store_;
  sys::WakeFd wake_;
  std::mutex lock_;
  std::condition_variable has_input_;
  std::deque<Input> input_;
  std::vector<StoreOutput> output_;
  bool ending_ = false;
  sys::Thread thread_;  // last: joined before the rest goes
};

}  // namespace mtd::task
