// What the benchmark of tasks asks of each queue of tasks, and the loop that loads it: a fixed
// number of tasks in flight, one more for each that has ended.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct Load {
  std::size_t workers = 1, window = 1;
  double seconds = 1;
  unsigned work_us = 0;  // that each task takes
};

class TaskQueue {
 public:
  virtual ~TaskQueue() = default;
  // Hands in `count` tasks, and waits until they are accepted where the queue says so.
  virtual void submit(std::size_t count) = 0;
  // Waits for ends while so many are in flight; how many there are since it was last called.
  virtual std::size_t ended(std::size_t in_flight) = 0;
};

[[nodiscard]] std::unique_ptr<TaskQueue> make_bare(const Load& load);
[[nodiscard]] std::unique_ptr<TaskQueue> make_beanstalk(const Load& load, const std::string& path);
[[nodiscard]] std::unique_ptr<TaskQueue> make_redis_list(const Load& load, const std::string& path);
[[nodiscard]] std::unique_ptr<TaskQueue> make_redis_stream(const Load& load,
                                                           const std::string& path);
[[nodiscard]] std::unique_ptr<TaskQueue> make_mtd(const Load& load, const std::string& path,
                                                  const std::string& pool);

[[nodiscard]] std::int64_t now_ns();
// What a task does.
void work(unsigned us);
[[noreturn]] void fail(const std::string& what);

// Processes that take tasks from elsewhere, and one count of what they have done, in memory that
// all of them share. Killed and reaped with it.
class Takers {
 public:
  Takers();
  ~Takers();
  Takers(const Takers&) = delete;
  Takers& operator=(const Takers&) = delete;

  // `run` is called in a process of its own, and never returns.
  template <class Run>
  void start(std::size_t count, Run run) {
    for (std::size_t i = 0; i < count; ++i) {
      const pid_t pid = begin();
      if (pid == 0) run(i);
      pids_.push_back(pid);
    }
  }
  void did_one();  // by a taker
  // For one of so many at least; how many since the last time.
  [[nodiscard]] std::size_t wait(std::size_t in_flight);

 private:
  struct Shared {
    std::atomic<std::uint32_t> done, awaited;
  };
  static pid_t begin();
  Shared* shared_;
  std::uint32_t seen_ = 0;
  std::vector<pid_t> pids_;
};

// Text over a connected stream: whole, and blocking.
class Text {
 public:
  explicit Text(const std::string& path);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  void say(const std::string& text);
  std::string line();  // without its \r\n
  void skip(std::size_t bytes);

 private:
  void fill();
  int fd_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace bench
