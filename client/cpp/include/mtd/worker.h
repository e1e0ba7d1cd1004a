// mtd/worker.h: the worker's side of mtd-task/1. A program that a pool with "tasks" starts takes
// tasks here and answers each exactly once. See mtd-worker(7).
//
//   int main() {
//     auto worker = mtd::Worker::from_environment();
//     if (!worker) return std::fputs(worker.error().message.c_str(), stderr), 1;
//     auto end = worker->run([](mtd::Task& task) -> mtd::Answer {
//       return mtd::Done::json("\"hello, " + task.name() + "\"");
//     });
//     return end ? 0 : 1;
//   }
//
// Never throws. Not safe for several threads at once; a process has one Worker.
#pragma once

#include <mtd/result.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mtd {

// The result of a task: JSON text, or bytes.
struct Done {
  std::string result = "null";      // JSON text; at most about 60 KiB, more travels as bytes
  std::optional<std::string> body;  // bytes, instead of it

  [[nodiscard]] static Done json(std::string text) { return {std::move(text), std::nullopt}; }
  [[nodiscard]] static Done bytes(std::string data) { return {{}, std::move(data)}; }
};

struct Failed {
  std::string message;
  std::string type;                      // a word for programs, "FileNotFound"
  std::string trace;                     // where it happened
  bool retry = true;                     // false: trying again is of no use
  std::optional<std::int64_t> delay_ms;  // until it is tried again; none: the pool's retry_delay
  // For programs that run others: a program that died, which is no failure of the worker.
  bool crash = false;
  std::optional<int> signal;  // that killed it
  std::optional<int> exit;    // its exit code
};

using Answer = std::variant<Done, Failed>;

class Worker;

class Task {
 public:
  [[nodiscard]] std::int64_t id() const { return id_; }
  [[nodiscard]] std::int64_t attempt() const { return attempt_; }  // from 1
  [[nodiscard]] const std::string& name() const { return name_; }  // empty: none
  // The JSON text of the array of arguments.
  [[nodiscard]] const std::string& arguments() const { return arguments_; }
  // The same as words: texts as they are, anything else as JSON.
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }
  [[nodiscard]] const std::optional<std::string>& body() const { return body_; }
  [[nodiscard]] std::optional<std::int64_t> timeout_ms() const { return timeout_ms_; }

  // Why mtd asks to give up ("user", "timeout", "drain"); empty: it does not. Answer all the same.
  [[nodiscard]] std::string cancelled();
  // Told to whoever waits for the task.
  void progress(std::int64_t done, std::optional<std::int64_t> total = {},
                std::string_view text = {});
  // So much longer than its time-out it may take.
  void extend(std::int64_t ms);

 private:
  friend class Worker;
  Worker* worker_ = nullptr;
  std::int64_t id_ = 0;
  std::int64_t attempt_ = 0;
  std::string name_;
  std::string arguments_;
  std::vector<std::string> words_;
  std::optional<std::string> body_;
  std::optional<std::int64_t> timeout_ms_;
};

class Worker {
 public:
  // The descriptor in MTD_TASK_FD. An error: this program was not started by a pool with tasks.
  [[nodiscard]] static Result<Worker> from_environment();
  // Takes over a connected stream socket.
  [[nodiscard]] static Worker adopt(int fd);
  Worker(Worker&&) noexcept;
  Worker& operator=(Worker&&) noexcept;
  ~Worker();

  // Says that it is ready, then calls `handler` with each task until mtd says enough or has gone.
  // What `handler` throws is a failure of the task. An error: what mtd sent makes no sense.
  [[nodiscard]] Result<void> run(const std::function<Answer(Task&)>& handler);

  // For an event loop of one's own, with several tasks at a time if it likes: ready() first, next()
  // whenever fd() is readable until it gives none, answer() for each task.
  [[nodiscard]] Result<void> ready(int credit = 1);
  [[nodiscard]] int fd() const;
  [[nodiscard]] Result<std::optional<Task>> next();
  [[nodiscard]] bool is_over() const;  // mtd has gone, or said enough: answer what there is, end
  // A task that mtd asks to give up, each once. `grace_ms`: then the worker is killed.
  struct Cancelled {
    std::int64_t id = 0;
    std::string reason;
    std::int64_t grace_ms = 0;
  };
  [[nodiscard]] std::optional<Cancelled> next_cancelled();
  [[nodiscard]] Result<void> answer(const Task& task, const Answer& answer);
  void recycle();  // asks to be replaced once the tasks at hand are answered

 private:
  friend class Task;
  struct State;
  explicit Worker(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mtd
