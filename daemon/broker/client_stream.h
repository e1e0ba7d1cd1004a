// ClientStream: one client after Open. Reads its frames, answers them in any order, tells it the
// ends of the tasks it watches. A client that does not read is owed its answers: their ends stay in
// the store, and nothing more is read from it. Nobody waits for it.
//
// That a task was accepted waits a moment for its end, as long as ends prove to come within one: to
// wake a client twice for a quick task costs more than the task. The moments become longer while
// they do, so that their timer does not cost more than the tasks either.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/time.h"
#include "common/unique_fd.h"
#include "daemon/broker/client_frames.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/task_message.h"
#include "daemon/sys/event_loop.h"

namespace mtd::broker {

class ClientStream;

// The broker, as its clients see it.
class ClientHost {
 public:
  virtual ~ClientHost() = default;
  virtual void put(ClientStream& client, PutFrame frame, std::string body) = 0;
  virtual void wait(ClientStream& client, const WaitFrame& frame) = 0;
  virtual void cancel(ClientStream& client, const CancelFrame& frame) = 0;
  virtual void forget(const ForgetFrame& frame) = 0;
  // The end of a task that the client has not been told for want of room; answered by tell().
  virtual void tell_later(ClientStream& client, std::int64_t seq, task::TaskId id) = 0;
  virtual void closed(ClientStream& client) = 0;
  // Calls moment_over(), not before wait_ends().
  virtual void call_in_a_moment(ClientStream& client) = 0;
  // Calls flush_now() when what is being handled has been.
  virtual void flush_this_turn(ClientStream& client) = 0;
  // Of an answer whose data is in a file.
  [[nodiscard]] virtual Result<SpoolReader> open_result(const std::string& file) = 0;
  [[nodiscard]] virtual std::size_t max_body() const = 0;
};

class ClientStream final : public std::enable_shared_from_this<ClientStream> {
 public:
  ClientStream(ClientHost& host, sys::EventLoop& loop, UniqueFd socket);
  Result<void> start(std::string unread);

  // `and_end`: the client will be told its end as well.
  void ok(std::int64_t seq, task::TaskId id, bool existed, bool and_end = false);
  void no(std::optional<std::int64_t> seq, std::string_view error, std::string_view message,
          std::optional<std::int64_t> retry_ms = std::nullopt, task::TaskId id = {});
  void watch(task::TaskId id, std::int64_t seq);
  [[nodiscard]] bool watches(task::TaskId id) const { return watched_.count(id.value) != 0; }
  // To every watch of the task, once.
  void end(const TaskEnd& end);
  // To one that was owed.
  void tell(std::int64_t seq, const TaskEnd& end);
  void progress(task::TaskId id, const std::string& members, Instant now);
  // A put that was accepted or refused: the client may send one more.
  void answered() { --open_calls_; }
  // In no order.
  [[nodiscard]] std::vector<task::TaskId> watched() const;
  // Tasks that are cancelled when this client goes before it was told their end.
  void attach(task::TaskId id) { attached_.insert(id.value); }
  // As they came.
  [[nodiscard]] std::vector<task::TaskId> attached() const;
  void close();
  [[nodiscard]] bool is_open() const { return static_cast<bool>(socket_); }
  // Answers that are still to be sent, at once as far as the socket takes them.
  void flush();
  void flush_now();
  // When it sends what waits for an end; never(): nothing does.
  [[nodiscard]] Instant wait_ends() const { return wait_ends_; }
  void moment_over();

 private:
  void on_ready(std::uint32_t events);
  void read();
  void take_frames();
  void handle(ClientFrame frame, std::string_view body);
  void send(std::string frame);
  void send_end(std::int64_t seq, const TaskEnd& end);
  void deliver_results();
  [[nodiscard]] bool takes_ends() const;
  void flush_soon();
  [[nodiscard]] bool tries_again(const Error& why);
  void update_interest();
  [[nodiscard]] bool is_full() const;

  ClientHost& host_;
  sys::EventLoop& loop_;
  UniqueFd socket_;
  sys::EventLoop::Watch watch_;
  std::string input_;
  std::size_t taken_ = 0;  // of input_
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  bool flushing_ = false, over_ = false, refused_ = false;
  Instant wait_ends_ = Instant::never();
  Duration moment_;                   // the next wait
  std::uint32_t misses_ = 0;          // waits for nothing, one after the other
  std::uint32_t no_wait_before_ = 0;  // answers that are sent at once before it is tried again
  std::size_t open_calls_ = 0;
  std::unordered_multimap<std::uint64_t, std::int64_t> watched_;  // seq by task
  std::unordered_set<std::uint64_t> attached_;
  std::deque<std::pair<std::int64_t, task::TaskId>> owed_;
  std::size_t asked_ = 0;  // of owed ones, under way
  struct Delivery {        // an end whose result is told in parts before it
    std::int64_t seq = 0;
    TaskEnd end;
    std::optional<SpoolReader> file;
  };
  std::deque<Delivery> deliveries_;
  std::optional<sys::EventLoop::Timer> next_try_;  // to open the file of the first one
  std::map<task::TaskId, Instant> last_progress_;
};

}  // namespace mtd::broker
