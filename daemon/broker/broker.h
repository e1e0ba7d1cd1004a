// Broker: the process between clients and workers. Wires the queues, the store, the clients and the
// link to the supervisor together, serves io.mtd.Tasks, and lives until it is told to stop; one
// thread and one loop, beside it the store's.
//
// It may be killed at any moment: what was accepted is in the store, what a worker has answered is
// in its socket until it is on record, and sockets and listener are the keeper's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/broker/client_desk.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/queue_runner.h"
#include "daemon/broker/queue_table.h"
#include "daemon/broker/store_traffic.h"
#include "daemon/broker/task_requests.h"
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

class Broker final : public QueueHost, public StoreHost {
 public:
  Broker(BrokerOptions options, sys::EventLoop loop, sys::BrokerLink link, UniqueFd listener,
         sys::TaskBoard board, TwoStores stores, task::StoreContents contents);
  ~Broker() override;
  [[nodiscard]] int run();

  // ---- for the handlers of calls ----
  [[nodiscard]] const QueueTable& queues() const { return queues_; }
  [[nodiscard]] StoreTraffic& store() { return store_; }
  [[nodiscard]] TaskRequests& requests() { return requests_; }
  [[nodiscard]] ClientDesk& clients() { return clients_; }
  void when_drained(const std::string& pool, std::shared_ptr<control::Call> call);

  // ---- QueueHost ----
  void submit(QueueRunner& queue, task::StoreOp&& op) override;
  void ask(task::StoreQuestion question, Replied replied) override {
    store_.ask(std::move(question), std::move(replied));
  }
  void answer(const task::PutAccepted& accepted) override { clients_.answer(accepted); }
  void answer(const task::Refused& refused, const std::string& pool) override;
  void answer(const task::Revived& revived) override { requests_.answer(revived); }
  void answer(const task::CancelAnswered& answered) override { requests_.answer(answered); }
  void settled(const task::Settled& settled) override { clients_.settled(settled); }
  void progress(task::TaskId id, const std::string& members) override {
    clients_.progress(id, members);
  }
  void drained(const std::string& pool) override;
  [[nodiscard]] task::Now now() override;
  [[nodiscard]] std::uint64_t entropy() override { return entropy_(); }
  void changed(QueueRunner& queue) override { changed_.insert(&queue); }

  // ---- StoreHost ----
  void done(task::StoreDone&& done) override;
  void synced(const task::StoreSynced& synced) override { clients_.synced(synced); }

 private:
  void on_link();
  void handle(const Welcome& welcome);
  void handle(const Pool& pool);
  void handle(const PoolGone& gone) { queues_.gone(gone.id); }
  void handle(sys::AttachedSocket& attached);
  void handle(const Drain& drain);
  void handle(const Ended& ended);
  void handle(const Synced& synced);
  void handle(const Stop& stop);
  void handle(const Ping& ping);
  void handle(sys::NewListener& listener);
  void keep_rules_of_old_pools();
  void serve();
  void sort_out_files();
  void on_deadline();
  void arm_timer();
  void after_turn();
  void tell_work();
  void end_if_idle();
  void link_broke(const Error& why);

  BrokerOptions options_;
  sys::EventLoop loop_;
  sys::BrokerLink link_;
  sys::EventLoop::Watch link_watch_;
  sys::EventLoop::Timer timer_;  // of the first deadline of a queue
  bool link_wants_write_ = false;
  sys::TaskBoard board_;
  PartSpool parts_;
  task::StoreContents contents_;  // of pools that nobody has told yet
  std::vector<char> scratch_;
  StoreTraffic store_;
  QueueTable queues_;
  TaskRequests requests_;
  ClientDesk clients_;
  control::LoopReactor reactor_;
  std::unique_ptr<control::Dispatcher> handlers_;
  std::unique_ptr<control::ControlServer> server_;
  UniqueFd listener_;
  std::mt19937_64 entropy_;
  std::optional<task::Now> now_;  // of this turn
  std::multimap<std::string, std::shared_ptr<control::Call>> drains_;
  std::set<QueueRunner*> changed_;
  Instant working_again_;  // when that something is done is worth a word again
  bool synced_ = false, stopping_ = false, pinged_ = false;
};

}  // namespace mtd::broker
