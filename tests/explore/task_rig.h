// A queue with a simulated world around it: a store that commits one operation after the other,
// workers that answer, die and are replaced, clients that put and cancel. It performs the queue's
// actions, checks each of them, and offers what may happen next. Shared by the explorer (every
// order) and the simulation (random order). A value: a copy goes its own way.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/model/queue.h"

namespace mtd::test {

inline constexpr Duration kTaskUnit = Duration::seconds(5);

// Which kinds of events are offered, and how many of each.
struct TaskMenu {
  std::uint32_t puts = 2;
  std::uint32_t slots = 1;   // workers at a time
  std::uint32_t spares = 2;  // workers that may come after the first ones
  std::uint32_t credit = 1;
  std::uint64_t limit = 0;  // of a worker's tasks
  std::uint32_t cancels = 0;
  std::uint32_t revives = 0;  // of tasks that are final and not done
  std::uint32_t batch = 1;    // tasks in a put
  bool group = false;         // all tasks are of one group, which is cancelled as a whole, too
  bool fail = false;          // workers say that they failed
  bool no_retry = false;
  bool crash = false;
  bool stop = false;  // mtd ends workers
  bool misbehave = false;
  bool close = false;  // workers close their socket, and live on
  bool drain = false;
  bool late = false;           // answers of attempts that are over
  bool delay = false;          // every second task has a delay
  bool expire = false;         // every second task expires
  bool priority = false;       // later tasks are more urgent
  bool full = false;           // the store refuses for want of room
  bool tight = false;          // from some time on it has no room for new tasks any more
  bool broken = false;         // the store fails for good
  bool restart = false;        // the broker dies and another one takes over …
  std::uint32_t restarts = 2;  // … so often
  bool pause = false;
  bool recycle = false;
  bool early = false;        // what waits for no sync may be told before what does
  bool lazy_commits = true;  // commits may come late; else as soon as asked for
};

class TaskRig {
 public:
  TaskRig(task::QueueSpec spec, TaskMenu menu);

  struct Choice {
    std::string text;
    enum class Kind {
      put,
      commit,
      commit_early,
      commit_full,
      tighten,
      commit_broken,
      done,
      fail,
      no_retry,
      crash,
      stop,
      misbehave,
      close,
      drain,
      late,
      attach,
      ready,
      cancel,
      cancel_now,
      cancel_group,
      revive,
      deadline,
      restart,
      pause,
      resume,
      recycle,
    } kind{};
    task::WorkerKey worker;
    task::TaskId id;
    std::uint32_t attempt = 0;
    std::size_t number = 0;  // restart: operations that were committed before
  };
  [[nodiscard]] std::vector<Choice> choices() const;
  void take(const Choice& choice, std::uint64_t entropy = 1);

  // Everything obeys from here on: every accepted task must become final. stubborn: workers never
  // answer, so only time-outs end their tasks.
  void come_to_rest(bool stubborn);

  [[nodiscard]] const std::string& wrong() const { return wrong_; }
  // Equal for states with the same future.
  [[nodiscard]] std::uint64_t canonical() const;
  [[nodiscard]] const task::Queue& queue() const { return queue_; }
  [[nodiscard]] std::uint64_t settled() const { return settled_.size(); }

 private:
  static constexpr const char* kGroup = "g";

  struct Stored {
    task::TaskFacts facts;
    task::Reason reason = task::Reason::none;
    std::uint32_t crashes = 0, failures = 0, refusals = 0;  // as the world has seen them
    bool accepted = false;                                  // a client has been told
  };
  struct Body {  // of a worker
    bool ready = false, drained = false, killed = false, spent = false, draining_said = false;
    bool misbehaved = false, closed = false;
    std::uint64_t given = 0;
    std::map<std::uint64_t, std::uint32_t> has;  // task → attempt
  };

  void step(task::Event event);
  void perform(const task::Action& action);
  void check();
  void fail(const std::string& what);
  void fail(const std::string& what, task::TaskId id);

  void on(const task::Submit& action);
  void on(const task::SendTask& action);
  void on(const task::SendCancel& action);
  void on(const task::SendDrain& action);
  void on(const task::KillWorker& action);
  void on(const task::WorkerLoad& action);
  void on(const task::WorkerSpent& action);
  void on(const task::WorkerDrained& action);
  void on(const task::AnswerSettled& action);
  void on(const task::PutAccepted& action);
  void on(const task::Refused& action);
  void on(const task::Revived& action);
  void on(const task::CancelAnswered& action);
  void on(const task::Settled& action);
  void on(const task::GroupSettled&) { group_told_ = true; }
  void on(const task::QueueDrained&);

  void put();
  void commit(task::StoreStatus status);
  // The first operation under way that needs no sync, if others wait for theirs before it; 0: none.
  [[nodiscard]] std::size_t early() const;
  // What a store does; the status that it says.
  task::StoreStatus apply(const task::StoreOp& op, task::StoreDone& done);
  Stored* guarded(task::TaskId id, std::uint32_t attempt);
  void answer(const Choice& choice);
  void lose(task::WorkerKey key, task::Death death);
  void attach(std::uint32_t slot);
  void restart(std::size_t committed);
  void eager();
  [[nodiscard]] bool is_under_way(task::TaskId id) const;
  [[nodiscard]] task::Now now() const;

  TaskMenu menu_;
  task::QueueSpec spec_;
  Instant now_ = Instant::at_ns(1'000'000'000'000);
  task::Queue queue_;
  std::uint64_t entropy_ = 1;
  std::map<std::uint64_t, Stored> store_;
  std::map<std::uint64_t, std::uint64_t> orders_;  // of tasks, as they were claimed
  std::deque<task::StoreOp> under_way_;
  std::map<task::WorkerKey, Body> bodies_;
  std::map<std::uint32_t, std::uint64_t> incarnations_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> sent_;        // (id, attempt), ever
  std::set<std::pair<std::uint64_t, std::uint32_t>> unsettled_;   // answers given
  std::set<std::pair<std::uint64_t, std::uint32_t>> late_;        // … that may not count
  std::set<std::pair<std::uint64_t, std::uint32_t>> in_sockets_;  // … to be read by a new broker
  // Not answered yet.
  static constexpr int kPut = -1, kRevive = -2;
  std::map<std::uint64_t, int> tickets_;  // ≥ 0: a cancel of so many tasks
  std::set<std::uint64_t> settled_;
  std::uint64_t next_id_ = 1, next_ticket_ = 1;
  std::uint32_t spares_ = 0, cancels_ = 0, restarts_ = 0, revives_ = 0;
  std::uint64_t group_live_ = 0;
  bool paused_ = false, broken_ = false, tight_ = false, group_told_ = false;
  std::string wrong_;
};

}  // namespace mtd::test
