// mtd/client.h: hand tasks to a pool of a running mtd and hear how they end. See mtd-worker(7).
//
//   auto client = mtd::Client::connect({});
//   if (!client) …client.error().message…
//   mtd::Future future = client->submit({.pool = "thumbs", .words = {"a.jpg", "200"}});
//   auto end = future.get();          // drives the connection until the task has ended
//   if (end && end->is_done()) …end->result…
//
// One thread. Nothing is done behind its back: futures move when get(), wait() or turn() is called.
// If mtd's broker dies, the connection is made again, and tasks whose end is not known are put
// again under the same name, which mtd knows. Never throws.
#pragma once

#include <mtd/result.h>
#include <poll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mtd {

// A task to put. Times in milliseconds; none: the pool's own.
struct Put {
  std::string pool;
  std::string name;
  std::vector<std::string> words;            // arguments that are texts
  std::string arguments;                     // or any arguments: the JSON text of an array
  std::optional<std::string> body;           // bytes beside them
  std::string uid;                           // the same one is the same task; empty: made up
  std::string group;                         // for wait and cancel
  std::string unique;                        // refused while another with this key is unfinished
  std::optional<std::int64_t> priority;      // -100…100, lower first
  std::optional<std::int64_t> delay_ms;      // not before so long from now
  std::optional<std::int64_t> at_ms;         // not before this time, Unix time
  std::optional<std::int64_t> timeout_ms;    // of an attempt
  std::optional<std::int64_t> expires_ms;    // given up if it has not begun by then
  std::optional<std::int64_t> max_attempts;  // at most the pool's
  std::optional<std::int64_t> block_ms;      // wait for room in a full queue; 0: no, -1: for ever
};

struct TaskProblem {
  std::string type;
  std::string message;
  std::string trace;
};

// How a task ended.
struct End {
  std::int64_t id = 0;
  std::string state;                // done dead cancelled expired; refused: it was not accepted
  std::string reason;               // failure crash timeout user …; of a refusal: QueueFull …
  std::string result;               // JSON text, if done without a body
  std::optional<std::string> body;  // bytes
  TaskProblem error;
  std::int64_t attempts = 0;
  std::optional<int> signal;  // that ended the program
  std::optional<int> exit;    // its exit code

  [[nodiscard]] bool is_done() const { return state == "done"; }
  [[nodiscard]] bool is_refused() const { return state == "refused"; }
};

struct Progress {
  std::int64_t id = 0;
  std::int64_t done = 0;
  std::optional<std::int64_t> total;
  std::string text;
};

struct ClientOptions {
  std::vector<std::string> paths;  // of io.mtd.Tasks, tried in this order; empty: as mtctl does it
  bool attached = false;           // cancel what has not ended when this process goes away
  bool keep = false;               // results stay with mtd after they were told here
  std::int64_t patience_ms = 30000;               // that mtd may be away
  std::function<void(const Progress&)> progress;  // of any task
  // Tasks leave together with the next turn(), get() or wait_all(), not each at once: for many.
  bool gather = false;
};

class Client;

// The end of one task, now or later. Copies are the same future. Outlives its client harmlessly.
class Future {
 public:
  [[nodiscard]] bool is_ready() const;
  [[nodiscard]] std::int64_t id() const;  // 0 until mtd has accepted it
  // Waits; an error: the connection is lost for good, or the time has passed (ETIMEDOUT).
  [[nodiscard]] Result<End> get(std::int64_t timeout_ms = -1);
  // Asks mtd to end the task, also when it runs. The future tells which end it was.
  void cancel();

 private:
  friend class Client;
  struct State;
  std::shared_ptr<State> state_;
};

class Client {
 public:
  // EACCES: not allowed. EAGAIN: mtd runs, but nobody can keep tasks now; the message says why.
  // ETIMEDOUT: it does not answer within `patience_ms`.
  [[nodiscard]] static Result<Client> connect(ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Never waits. `then` is called from turn(), get() or wait() once, with its end.
  Future submit(Put put, std::function<void(const End&)> then = {});
  // A task that was put elsewhere.
  Future watch(std::int64_t id, std::function<void(const End&)> then = {});
  // Results that are no longer needed; without `keep` this is done by itself.
  void forget(std::int64_t id);

  // Takes in what has come and sends what there is to send. Waits until something has happened
  // here or at one of `others` (see poll(2)), at most `timeout_ms` (-1: for ever).
  // An error: the connection is lost for good; every future has been told.
  [[nodiscard]] Result<void> turn(std::vector<pollfd>& others, std::int64_t timeout_ms);
  [[nodiscard]] Result<void> wait_all(std::int64_t timeout_ms = -1);
  [[nodiscard]] std::size_t unfinished() const;
  [[nodiscard]] bool is_connected() const;  // false while mtd is away
  [[nodiscard]] std::size_t max_body() const;

 private:
  friend class Future;
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Where io.mtd.Tasks may be: $MTD_SOCKET, the user's own mtd, the system's.
[[nodiscard]] std::vector<std::string> task_socket_paths();

}  // namespace mtd
