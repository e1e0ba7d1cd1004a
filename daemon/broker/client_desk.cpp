#include "daemon/broker/client_desk.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <vector>

#include "common/escape.h"
#include "daemon/broker/put_refusal.h"
#include "daemon/broker/task_message.h"
#include "daemon/sys/clock.h"

namespace mtd::broker {
namespace {

constexpr std::size_t kMaxProgress = 64 * 1024;  // tasks whose last word of progress is kept

task::PutTask task_of(PutFrame& frame, std::string body) {
  auto content = std::make_shared<task::TaskBody>();
  content->uid = std::move(frame.uid);
  content->name = std::move(frame.name);
  content->args = std::move(frame.args);
  content->data = std::move(body);
  task::PutTask task;
  task.body = std::move(content);
  task.priority = frame.priority;
  task.delay = frame.delay;
  task.at = frame.at;
  task.expires = frame.expires;
  task.timeout = frame.timeout;
  task.max_attempts = frame.max_attempts;
  task.group = std::move(frame.group);
  task.unique = std::move(frame.unique);
  return task;
}

task::Cancel detached(std::vector<task::TaskId> ids) {
  task::Cancel gone;
  gone.ids = std::move(ids);
  gone.reason = task::Reason::detached;
  return gone;
}

}  // namespace

Result<void> ClientDesk::start() {
  auto moment = places_.loop.timer(sys::Priority::client, [this] { on_moment(); });
  if (!moment) return moment.error();
  moment_ = std::move(*moment);
  return {};
}

void ClientDesk::open(UniqueFd socket, std::string unread) {
  auto client = std::make_shared<ClientStream>(*this, places_.loop, std::move(socket));
  clients_[client.get()] = client;
  if (const auto started = client->start(std::move(unread)); !started) {
    spdlog::warn("a client is sent away: {}", started.error().message);
    client->close();
  }
}

void ClientDesk::stop() {
  stopping_ = true;
  const Clients clients = clients_;
  for (const auto& entry : clients)
    entry.second->flush();
}

// ---- puts ----

void ClientDesk::put(ClientStream& client, PutFrame frame, std::string body) {
  const auto refuse = [&](std::string_view error, const std::string& message) {
    client.answered();
    client.no(frame.seq, error, message);
  };
  if (stopping_) return refuse("ShuttingDown", "mtd is stopping");
  QueueRunner* queue = places_.queues.find(frame.pool);
  if (queue == nullptr) {
    return refuse("NoSuchPool",
                  "no pool '" + escape_for_terminal(frame.pool) +
                      "' has a queue of tasks; \"tasks\" in the configuration gives it one");
  }
  if (body.size() > queue->settings().max_body) {
    return refuse("TooBig", "the body has " + std::to_string(body.size()) + " bytes, more than " +
                                std::to_string(queue->settings().max_body) + " (tasks.max_body)");
  }
  task::Put put;
  put.ticket = places_.requests.new_ticket();
  put.tasks.push_back(task_of(frame, std::move(body)));
  put.tasks.back().id = {next_id_++};
  put.block = frame.block;
  puts_[put.ticket.value] = {client.weak_from_this(), frame.seq, frame.watch, frame.attached,
                             queue->pool()};
  queue->apply(std::move(put));
}

std::optional<ClientDesk::PutCall> ClientDesk::take_put(task::Ticket ticket) {
  const auto found = puts_.find(ticket.value);
  if (found == puts_.end()) return std::nullopt;
  PutCall call = std::move(found->second);
  puts_.erase(found);
  return call;
}

void ClientDesk::written(const task::StoreDone& done) {
  if (task::is_unsynced_put(done))
    unsynced_.emplace_back(std::get<task::PutOp>(done.op.what).ticket, std::nullopt);
}

// Accepted means that the disk has it.
void ClientDesk::synced(const task::StoreSynced& synced) {
  for (std::uint32_t i = 0; i < synced.puts && !unsynced_.empty(); ++i) {
    const auto [ticket, accepted] = std::move(unsynced_.front());
    unsynced_.pop_front();
    if (synced.kept) {
      if (accepted) tell(*accepted);
    } else if (const auto put = puts_.find(ticket.value); put != puts_.end()) {
      refuse(task::Refused{ticket, task::Refusal::store_failed}, std::string(put->second.pool));
    }
  }
}

void ClientDesk::answer(const task::PutAccepted& accepted) {
  // The last one, as a rule: it has just been written.
  const auto unsynced = std::find_if(unsynced_.rbegin(), unsynced_.rend(),
                                     [&](const auto& one) { return one.first == accepted.ticket; });
  if (unsynced == unsynced_.rend()) return tell(accepted);
  unsynced->second = accepted;
}

void ClientDesk::tell(const task::PutAccepted& accepted) {
  const auto call = take_put(accepted.ticket);
  if (!call) return;
  const auto client = call->client.lock();
  const task::PutOutcome& outcome = accepted.tasks.front();
  if (!client || !client->is_open()) {
    // It has gone meanwhile; an attached task goes with it.
    if (!call->attached || outcome.existed != task::Existed::no) return;
    if (QueueRunner* queue = places_.queues.find(call->pool)) queue->apply(detached({outcome.id}));
    return;
  }
  client->answered();
  if (outcome.existed == task::Existed::by_unique) {
    client->no(call->seq, "Duplicate", "a task with this unique key is not finished yet",
               std::nullopt, outcome.id);
    return;
  }
  const bool existed = outcome.existed == task::Existed::by_uid;
  client->ok(call->seq, outcome.id, existed, !existed && (call->watch || call->attached));
  if (call->attached) client->attach(outcome.id);
  if (!call->watch && !call->attached) return;
  if (existed) {
    watch_id(client, outcome.id, call->seq);
  } else {
    client->watch(outcome.id, call->seq);
    watchers_.emplace(outcome.id.value, client);
    // It may have begun before.
    if (const std::string* said = progress_of(outcome.id))
      client->progress(outcome.id, *said, sys::now());
  }
}

void ClientDesk::refuse(const task::Refused& refused, const std::string& pool) {
  const auto call = take_put(refused.ticket);
  if (!call) return;
  const auto client = call->client.lock();
  if (!client) return;
  client->answered();
  const PutRefusal why = refusal_of(refused.why, pool);
  client->no(call->seq, why.error, why.message, why.retry_ms);
}

void ClientDesk::call_in_a_moment(ClientStream& client) {
  moments_.add(client);
  if (client.wait_ends() < moment_.deadline()) moment_.arm(client.wait_ends());
}

bool ClientDesk::flush() {
  if (to_flush_.empty()) return false;
  for (const auto& one : std::exchange(to_flush_, {})) {
    if (const auto client = one.lock()) client->flush_now();
  }
  return true;
}

void ClientDesk::on_moment() {
  moments_.end(sys::now());
  moment_.arm(moments_.next());
}

// ---- ends ----

// First the watch, then the look: an end in between is not missed, and told once.
void ClientDesk::watch_id(const std::shared_ptr<ClientStream>& client, task::TaskId id,
                          std::int64_t seq) {
  client->watch(id, seq);
  watchers_.emplace(id.value, client);
  task::FindTask question;
  question.id = id;
  question.with_answer = true;
  places_.store.ask(question, [weak = std::weak_ptr(client), id](const task::StoreReply& reply) {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->is_open() || !waiting->watches(id)) return;
    if (reply.tasks.empty()) return;
    const task::FoundTask& found = reply.tasks.front();
    if (task::is_final(found.row.facts.state)) waiting->end(end_of(found));
  });
}

void ClientDesk::wait(ClientStream& client, const WaitFrame& frame) {
  task::FindTask question;
  question.id = frame.id;
  question.uid = frame.uid;
  question.with_answer = true;
  places_.store.ask(question, [this, weak = client.weak_from_this(),
                               seq = frame.seq](const task::StoreReply& reply) {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->is_open()) return;
    if (reply.tasks.empty()) {
      waiting->no(seq, reply.error.empty() ? "NoSuchTask" : "StoreFailed",
                  reply.error.empty() ? "there is no such task, or no more" : reply.error);
      return;
    }
    const task::FoundTask& found = reply.tasks.front();
    if (task::is_final(found.row.facts.state)) {
      waiting->watch(found.row.facts.id, seq);
      waiting->end(end_of(found));
    } else {
      watch_id(waiting, found.row.facts.id, seq);
    }
  });
}

void ClientDesk::tell_later(ClientStream& client, std::int64_t seq, task::TaskId id) {
  task::FindTask question;
  question.id = id;
  question.with_answer = true;
  places_.store.ask(question,
                    [weak = client.weak_from_this(), seq, id](const task::StoreReply& reply) {
                      const auto waiting = weak.lock();
                      if (!waiting || !waiting->is_open()) return;
                      TaskEnd end;
                      end.id = id;
                      if (!reply.tasks.empty()) end = end_of(reply.tasks.front());
                      waiting->tell(seq, end);
                    });
}

void ClientDesk::settled(const task::Settled& settled) {
  if (!progress_.empty()) progress_.erase(settled.id.value);
  const auto [first, past] = watchers_.equal_range(settled.id.value);
  if (first == past) return;
  std::vector<std::shared_ptr<ClientStream>> told;
  for (auto at = first; at != past; ++at) {
    if (auto client = at->second.lock()) told.push_back(std::move(client));
  }
  watchers_.erase(first, past);
  const TaskEnd end = end_of(settled);
  for (const auto& client : told)
    client->end(end);
}

void ClientDesk::progress(task::TaskId id, const std::string& members) {
  if (progress_.size() < kMaxProgress || progress_.count(id.value) != 0)
    progress_[id.value] = members;
  const auto [first, past] = watchers_.equal_range(id.value);
  for (auto at = first; at != past; ++at) {
    if (const auto client = at->second.lock()) client->progress(id, members, sys::now());
  }
}

const std::string* ClientDesk::progress_of(task::TaskId id) const {
  const auto found = progress_.find(id.value);
  return found == progress_.end() ? nullptr : &found->second;
}

// ---- what else clients ask for ----

void ClientDesk::cancel(ClientStream& client, const CancelFrame& frame) {
  QueueRunner* queue = places_.queues.holder_of(frame.id);
  if (queue == nullptr) {
    client.no(frame.seq, "NoSuchTask", "there is no such task, or it has ended");
    return;
  }
  task::Cancel cancel;
  cancel.ids = {frame.id};
  cancel.now = frame.now;
  places_.requests.cancel(*queue, std::move(cancel),
                          [weak = client.weak_from_this(), frame](const task::CancelAnswered&) {
                            if (const auto asking = weak.lock())
                              asking->ok(frame.seq, frame.id, false);
                          });
}

void ClientDesk::forget(const ForgetFrame& frame) {
  if (places_.queues.holder_of(frame.id) == nullptr) places_.store.remove({frame.id});
}

void ClientDesk::closed(ClientStream& client) {
  const auto found = clients_.find(&client);
  if (found == clients_.end()) return;
  const std::shared_ptr<ClientStream> self = std::move(found->second);
  clients_.erase(found);
  stop_watching(self);
  cancel_attached(client);
  // Puts that wait for room have nobody to be told.
  std::vector<std::pair<std::uint64_t, std::string>> waiting;
  for (const auto& [ticket, call] : puts_) {
    if (call.client.lock() == self) waiting.emplace_back(ticket, call.pool);
  }
  for (const auto& [ticket, pool] : waiting) {
    if (QueueRunner* queue = places_.queues.find(pool)) queue->apply(task::Forget{{ticket}});
  }
}

void ClientDesk::stop_watching(const std::shared_ptr<ClientStream>& client) {
  for (const task::TaskId id : client->watched()) {
    const auto [first, past] = watchers_.equal_range(id.value);
    for (auto at = first; at != past;)
      at = at->second.lock() == client ? watchers_.erase(at) : std::next(at);
  }
}

void ClientDesk::cancel_attached(const ClientStream& client) {
  std::map<QueueRunner*, std::vector<task::TaskId>> attached;
  for (const task::TaskId id : client.attached()) {
    if (QueueRunner* queue = places_.queues.holder_of(id)) attached[queue].push_back(id);
  }
  for (auto& [queue, ids] : attached)
    queue->apply(detached(std::move(ids)));
}

}  // namespace mtd::broker
