// ClientDesk: the clients, and who of them waits for what: puts that are not answered, ends that
// are to be told, progress. A put is told as accepted when the disk has it; an attached task goes
// with its client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/result.h"
#include "daemon/broker/client_stream.h"
#include "daemon/broker/moments.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/queue_table.h"
#include "daemon/broker/store_traffic.h"
#include "daemon/broker/task_requests.h"
#include "daemon/sys/event_loop.h"

namespace mtd::broker {

class ClientDesk final : public ClientHost {
 public:
  struct Places {  // where things are; they outlive the desk
    sys::EventLoop& loop;
    const QueueTable& queues;
    StoreTraffic& store;
    TaskRequests& requests;
    const PartSpool& parts;
  };
  // last_id: the largest that a task had.
  ClientDesk(Places places, task::TaskId last_id) : places_(places), next_id_(last_id.value + 1) {}
  Result<void> start();

  void open(UniqueFd socket, std::string unread);
  // No put is taken any more; what there is to say is said.
  void stop();
  [[nodiscard]] const std::string* progress_of(task::TaskId id) const;

  // At the end of a turn: sends what cannot wait for company. False: there was nothing; else
  // clients may have put more.
  bool flush();

  // ---- what queues and the store say ----
  void answer(const task::PutAccepted& accepted);
  void refuse(const task::Refused& refused, const std::string& pool);
  void settled(const task::Settled& settled);
  void progress(task::TaskId id, const std::string& members);
  // Before the queue hears of it.
  void written(const task::StoreDone& done);
  void synced(const task::StoreSynced& synced);
  // Some puts are written and wait for the disk.
  [[nodiscard]] bool waits_for_sync() const { return !unsynced_.empty(); }

  // ---- ClientHost ----
  void put(ClientStream& client, PutFrame frame, std::string body) override;
  void wait(ClientStream& client, const WaitFrame& frame) override;
  void cancel(ClientStream& client, const CancelFrame& frame) override;
  void forget(const ForgetFrame& frame) override;
  void tell_later(ClientStream& client, std::int64_t seq, task::TaskId id) override;
  void closed(ClientStream& client) override;
  void call_in_a_moment(ClientStream& client) override;
  void flush_this_turn(ClientStream& client) override {
    to_flush_.push_back(client.weak_from_this());
  }
  [[nodiscard]] std::size_t max_body() const override { return places_.queues.max_body(); }
  [[nodiscard]] Result<SpoolReader> open_result(const std::string& file) override {
    return places_.parts.open(file);
  }

 private:
  struct PutCall {
    std::weak_ptr<ClientStream> client;
    std::int64_t seq = 0;
    bool watch = false, attached = false;
    std::string pool;
  };
  using Clients = std::map<ClientStream*, std::shared_ptr<ClientStream>>;

  [[nodiscard]] std::optional<PutCall> take_put(task::Ticket ticket);
  void tell(const task::PutAccepted& accepted);
  void watch_id(const std::shared_ptr<ClientStream>& client, task::TaskId id, std::int64_t seq);
  void stop_watching(const std::shared_ptr<ClientStream>& client);
  void cancel_attached(const ClientStream& client);
  void on_moment();

  Places places_;
  std::uint64_t next_id_;
  bool stopping_ = false;
  Clients clients_;
  std::unordered_map<std::uint64_t, PutCall> puts_;  // by ticket
  // Puts that are written, in their order, and what their clients are told when the disk has them.
  std::deque<std::pair<task::Ticket, std::optional<task::PutAccepted>>> unsynced_;
  std::unordered_multimap<std::uint64_t, std::weak_ptr<ClientStream>> watchers_;  // by task
  std::unordered_map<std::uint64_t, std::string> progress_;
  std::vector<std::weak_ptr<ClientStream>> to_flush_;  // at the end of this turn
  Moments moments_;
  sys::EventLoop::Timer moment_;  // of the first of moments_
};

}  // namespace mtd::broker
