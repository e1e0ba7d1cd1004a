// Broker: the process between clients and workers. Owns the queues and the store, serves
// io.mtd.Tasks, and speaks with the supervisor; one thread and one loop, beside it the store's.
//
// It may be killed at any moment: what was accepted is in the store, what a worker has answered is
// in its socket until it is on record, and sockets and listener are the keeper's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/broker/client_stream.h"
#include "daemon/broker/moments.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/queue_runner.h"
#include "daemon/broker/two_stores.h"
#include "daemon/control/loop_reactor.h"
#include "daemon/control/server.h"
#include "daemon/sys/broker_link.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/task_board.h"

namespace mtd::broker {

inline constexpr std::uint64_t kMemoryLimit = 1ULL << 30U;  // of tasks that are kept in memory

struct BrokerOptions {
  std::uint32_t owner = 0;  // uid of mtd
  std::optional<std::uint32_t> operate_gid, readonly_gid;
  std::uint32_t max_clients = 1024;
  SpoolOptions spool;
};

class Broker final : public QueueHost, public ClientHost {
 public:
  Broker(BrokerOptions options, sys::EventLoop loop, sys::BrokerLink link, UniqueFd listener,
         sys::TaskBoard board, TwoStores stores, task::StoreContents contents);
  ~Broker() override;
  [[nodiscard]] int run();

  // ---- for the handlers of calls ----
  using Queues = std::map<std::string, std::unique_ptr<QueueRunner>, std::less<>>;
  // Of pools in the configuration.
  [[nodiscard]] QueueRunner* find(std::string_view pool);
  [[nodiscard]] const Queues& queues() const { return queues_; }
  [[nodiscard]] bool is_present(const QueueRunner& queue) const {
    return absent_.count(queue.pool()) == 0;
  }
  [[nodiscard]] task::Ticket new_ticket() { return {next_ticket_++}; }
  using CancelDone = std::function<void(const task::CancelAnswered&)>;
  void cancel(QueueRunner& queue, task::Cancel cancel, CancelDone done);
  using ReviveDone = std::function<void(bool revived)>;
  void revive(QueueRunner& queue, task::TaskId id, ReviveDone done);
  void when_drained(const std::string& pool, std::shared_ptr<control::Call> call);
  [[nodiscard]] const std::string* progress_of(task::TaskId id) const;
  void open(UniqueFd socket, std::string unread);
  void remove(std::vector<task::TaskId> ids);

  // ---- QueueHost ----
  void submit(QueueRunner& queue, task::StoreOp op) override;
  void ask(task::StoreQuestion question, Replied replied) override;
  void answer(const task::PutAccepted& accepted) override;
  void answer(const task::Refused& refused, const std::string& pool) override;
  void answer(const task::Revived& revived) override;
  void answer(const task::CancelAnswered& answered) override;
  void settled(const task::Settled& settled) override;
  void progress(task::TaskId id, const std::string& members) override;
  void drained(const std::string& pool) override;
  [[nodiscard]] task::Now now() override;
  [[nodiscard]] std::uint64_t entropy() override { return entropy_(); }
  void changed(QueueRunner& queue) override { changed_.insert(&queue); }

  // ---- ClientHost ----
  void put(ClientStream& client, PutFrame frame, std::string body) override;
  void wait(ClientStream& client, const WaitFrame& frame) override;
  void cancel(ClientStream& client, const CancelFrame& frame) override;
  void forget(const ForgetFrame& frame) override;
  void tell_later(ClientStream& client, std::int64_t seq, task::TaskId id) override;
  void closed(ClientStream& client) override;
  void call_in_a_moment(ClientStream& client) override;
  [[nodiscard]] std::size_t max_body() const override { return max_body_; }
  [[nodiscard]] Result<SpoolReader> open_result(const std::string& file) override {
    return parts_.open(file);
  }

 private:
  void on_link();
  void handle(const Welcome& welcome);
  void handle(const Pool& pool);
  void handle(const PoolGone& gone);
  void handle(sys::AttachedSocket& attached);
  void handle(const Drain& drain);
  void handle(const Ended& ended);
  void handle(const Synced& synced);
  void handle(const Stop& stop);
  void on_store();
  void submit_batch();
  void apply(task::StoreDone done);
  void handle(const task::StoreSynced& synced);
  void tell(const task::PutAccepted& accepted);
  struct Cancelling {  // of very many tasks, piece by piece
    QueueRunner& queue;
    task::Cancel request;  // without its ids
    std::vector<task::TaskId> ids;
    std::size_t at = 0;  // of the ids: the next one
    task::CancelAnswered sum;
    CancelDone done;
  };
  void cancel_more(const std::shared_ptr<Cancelling>& job);
  void end_if_idle();
  void sort_out_files();
  void on_deadline();
  void on_moment();
  void arm_timer();
  void after_turn();
  void link_broke(const Error& why);
  void watch_id(const std::shared_ptr<ClientStream>& client, task::TaskId id, std::int64_t seq);
  [[nodiscard]] QueueRunner* by_id(std::uint32_t id);
  [[nodiscard]] QueueRunner* holder_of(task::TaskId id);

  struct PutCall {
    std::weak_ptr<ClientStream> client;
    std::int64_t seq = 0;
    bool watch = false, attached = false;
    std::string pool;
  };

  BrokerOptions options_;
  sys::EventLoop loop_;
  sys::BrokerLink link_;
  sys::EventLoop::Watch link_watch_, store_watch_;
  sys::EventLoop::Timer timer_;
  sys::EventLoop::Timer moment_;  // of the first of moments_
  sys::EventLoop::Timer forget_;
  bool link_wants_write_ = false;
  sys::TaskBoard board_;
  PartSpool parts_;
  TwoStores stores_;
  task::StoreContents contents_;
  std::vector<char> scratch_;
  control::LoopReactor reactor_;
  std::unique_ptr<control::Dispatcher> handlers_;
  std::unique_ptr<control::ControlServer> server_;
  UniqueFd listener_;
  std::mt19937_64 entropy_;
  std::optional<task::Now> now_;  // of this turn

  Queues queues_;
  std::set<std::string, std::less<>> absent_;  // queues of pools that left the configuration
  std::set<std::string, std::less<>> told_;    // in this sync
  std::uint64_t next_id_ = 1, next_ticket_ = 1, next_question_ = 1;
  std::size_t max_body_ = 8 << 20;
  std::vector<QueueRunner*> by_token_;  // token − 1
  std::uint64_t under_way_ = 0;         // operations at the disk
  std::vector<task::StoreOp> batch_;
  std::deque<task::StoreDone> done_at_once_;  // in memory; not applied yet
  bool submitting_ = false;
  // Puts that are written, in their order, and what their clients are told when the disk has them.
  std::deque<std::pair<task::Ticket, std::optional<task::PutAccepted>>> unsynced_;
  std::unordered_map<std::uint64_t, Replied> questions_;
  std::unordered_map<std::uint64_t, PutCall> puts_;        // by ticket
  std::unordered_map<std::uint64_t, CancelDone> cancels_;  // by ticket
  std::unordered_map<std::uint64_t, ReviveDone> revives_;  // by ticket
  std::multimap<std::string, std::shared_ptr<control::Call>> drains_;
  std::map<ClientStream*, std::shared_ptr<ClientStream>> clients_;
  Moments moments_;
  std::unordered_multimap<std::uint64_t, std::weak_ptr<ClientStream>> watchers_;  // by task
  std::unordered_map<std::uint64_t, std::string> progress_;
  std::set<QueueRunner*> changed_;
  bool synced_ = false, stopping_ = false;
};

}  // namespace mtd::broker
