// TaskPlane: the supervisor's side of the broker. Starts it through the keeper, again whenever it
// ends; makes the socket of each worker that gets its tasks from it, has the keeper hold mtd's end,
// and tells the broker who lives, who is to end, and how someone ended. It reads nothing that a
// task or a client wrote: only the broker's fixed messages. While no broker can work, callers are
// told so and why.
//
// What a kill -9 leaves: the keeper holds the link to the broker, the listener of io.mtd.Tasks, the
// board, and mtd's end of every worker's socket. A new supervisor finds the broker by the keeper's
// list and tells it everything again; a new broker gets every socket again. A worker's entry at the
// keeper is released only when the broker has its end on record.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>

#include "config/pool_spec.h"
#include "daemon/supervisor/model/broker_pause.h"
#include "daemon/supervisor/model/broker_watch.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/task_refusals.h"
#include "daemon/sys/broker_link.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/keeper_link.h"
#include "daemon/sys/task_board.h"

namespace mtd::supervisor {

// The broker's key at the keeper; pools are counted from 1.
inline constexpr std::uint32_t kOwnPool = 0, kBrokerSlot = 0;
inline constexpr const char* kHeldLink = "task-link";
inline constexpr const char* kHeldTasks = "task-listener";
inline constexpr const char* kHeldBoard = "task-board";

// What the broker says of a worker.
using TaskFact =
    std::variant<broker::Ready, broker::Drained, broker::Spent, broker::Condemned, broker::Load>;

class TaskPlane {
 public:
  struct Facts {
    std::uint64_t instance = 0;  // the keeper's
    std::uint32_t own_uid = 0;
    bool protects = false;  // the keeper could lower its oom_score_adj
    std::string directory;  // of the store, unless the configuration names one; empty: none
    std::string log_level;
  };
  struct Hooks {
    std::function<void(const keeper::Key&, const TaskFact&)> fact;
    std::function<void(std::uint32_t pool, bool waits)> backlog;  // tasks wait for a first worker
    std::function<void()> serving;                                // for the first time, or again
    std::function<void(const std::string&)> failed;  // the broker cannot work, for people
    std::function<std::optional<std::uint32_t>(const std::string& pool)> id_of;
    std::function<std::string()> program;  // mtd-broker as it is found now; empty: it is not
  };
  TaskPlane(sys::EventLoop& loop, sys::KeeperLink& keeper, Facts facts, Hooks hooks);

  // ---- once, at the start ----
  // What an earlier life left; `entry`: of a broker that the keeper has.
  void adopt(UniqueFd link, UniqueFd listener, UniqueFd board,
             const std::optional<keeper::Entry>& entry);
  // A worker of an earlier life. ended: the model has its end already; what the broker may not know
  // of it nobody can tell any more.
  void adopt_worker(const keeper::Key& key, std::uint64_t task_limit, bool ended);
  // Every worker is known. From here on the broker runs while a pool has a queue.
  void begin(const config::Configuration& configuration, const std::string& socket_path);
  void configure(const config::Configuration& configuration);

  // ---- workers ----
  // The worker's end of a new socket.
  [[nodiscard]] Result<UniqueFd> make_socket(const keeper::Key& key, std::uint64_t task_limit);
  // It is to be stopped: answered by Drained. False: nothing will come, it has no task and gets
  // none.
  bool drain(const keeper::Key& key, std::optional<Duration> deadline);
  void ended(const keeper::Key& key, const model::ExitRecord& exit);
  // The keeper's entry is released here, once the broker has taken note. False: nothing to wait
  // for.
  bool release_later(const keeper::Key& key);
  // Of a worker that nobody remembers.
  void forget_socket(const keeper::Key& key) { keeper_.drop(held_name(ref(key))); }
  [[nodiscard]] bool has(const keeper::Key& key) const { return workers_.count(ref(key)) != 0; }

  // ---- the keeper's messages ----
  void on_entry(const keeper::Entry& entry);  // kOwnPool, kBrokerSlot
  bool on_held(sys::HeldDescriptor& held);    // false: somebody else asked
  void flush();                               // after every turn

  // Somebody wants to know how things are: whether the broker answers is found out, also if it has
  // no work that anybody knows of.
  void look() {
    if (running_ && link_) expect();
  }
  [[nodiscard]] const sys::TaskBoard& board() const { return board_; }
  [[nodiscard]] bool is_serving() const { return serving_; }
  [[nodiscard]] bool is_wanted() const { return !queues_.empty(); }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::size_t sockets() const { return workers_.size(); }
  [[nodiscard]] int listener() const { return listener_.get(); }
  void replace_listener(UniqueFd listener);
  // At the end of mtd, when every worker is gone.
  void stop();
  [[nodiscard]] bool is_stopped() const { return given_up_ || (!running_ && !spawning_); }

 private:
  struct Worker {
    std::uint64_t task_limit = 0;
    std::optional<broker::Ended> ended;
    std::optional<broker::Drain> drain;
    bool release = false;  // when the broker has taken note
  };
  [[nodiscard]] static broker::WorkerRef ref(const keeper::Key& key) {
    return {key.pool, key.slot, key.incarnation};
  }
  [[nodiscard]] static keeper::Key key_of(const broker::WorkerRef& worker) {
    return {worker.pool, worker.slot, worker.incarnation};
  }
  [[nodiscard]] static std::string held_name(const broker::WorkerRef& worker);

  void take(const config::Configuration& configuration);
  void start();
  void start_later(model::BrokerEnd end);
  void refuse();
  Result<void> spawn();
  [[nodiscard]] const std::string& directory() const {
    return daemon_.task_directory.empty() ? facts_.directory : daemon_.task_directory;
  }
  [[nodiscard]] Result<UniqueFd> encode_spec(const std::string& program) const;
  void connect(UniqueFd link);
  void tell_everything();
  void tell_queues();
  void end_sync();
  void on_link();
  void handle(const broker::Hello& hello);
  void handle(const broker::Serving& serving);
  void handle(const broker::Failed& failed);
  void handle(const broker::EndedTaken& taken);
  void handle(const broker::Backlog& backlog);
  void handle(const broker::Pong& pong);
  void handle(const broker::Working&) { expect(); }
  template <class Fact>
  void handle(const Fact& fact) {
    if (hooks_.fact) hooks_.fact(key_of(fact.worker), TaskFact(fact));
  }
  void drop_link(const Error& why);
  template <class Message>
  void tell(const Message& message, int fd = -1) {
    link_.send(message, fd);
    expect();
  }
  void expect();
  void watch_broker();
  void end_broker();
  void arm_watch();
  void forget(std::map<broker::WorkerRef, Worker>::iterator worker);
  [[nodiscard]] broker::Pool message_of(const config::PoolSpec& spec, std::uint32_t id) const;

  sys::EventLoop& loop_;
  sys::KeeperLink& keeper_;
  Facts facts_;
  Hooks hooks_;
  sys::BrokerLink link_;
  sys::EventLoop::Watch link_watch_;
  bool link_wants_write_ = false;
  UniqueFd listener_;
  sys::TaskBoard board_;
  sys::EventLoop::Timer restart_timer_, watch_timer_;
  std::map<std::string, config::PoolSpec> queues_;  // pools that have one
  std::map<std::string, std::uint32_t> told_;       // to this broker: pool → id
  config::DaemonSpec daemon_;
  std::map<broker::WorkerRef, Worker> workers_;
  std::unordered_map<std::uint64_t, broker::WorkerRef> fetches_;  // by serial
  model::BrokerPause pause_;
  model::BrokerWatch watch_;
  Instant watched_ = Instant::never();  // what the timer is armed for
  TaskRefusals refusals_;
  std::string problem_, told_problem_, socket_path_;
  bool store_hangs_ = false;  // and that is the problem
  keeper::Key key_{};         // of the broker that runs
  bool running_ = false, spawning_ = false, begun_ = false, syncing_ = false, serving_ = false;
  bool stopping_ = false, stop_told_ = false, said_why_ = false, given_up_ = false;
};

}  // namespace mtd::supervisor
