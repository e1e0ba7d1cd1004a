#include "daemon/broker/broker.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/task_methods.h"
#include "daemon/broker/pool_settings.h"
#include "daemon/broker/task_handlers.h"
#include "daemon/sys/clock.h"

namespace mtd::broker {
namespace {

constexpr int kMessagesATurn = 64;
// What a worker's socket can hold, and more.
constexpr std::size_t kScratchBytes = 1024 * 1024;
constexpr std::size_t kMaxProgress = 64 * 1024;  // tasks whose last word of progress is kept
constexpr std::int64_t kRetryMs = 1000;
constexpr std::size_t kCancelledAtOnce = 1024;
// What is to be forgotten waits so long for company.
constexpr Duration kForgetPause = Duration::milliseconds(50);

}  // namespace

Broker::Broker(BrokerOptions options, sys::EventLoop loop, sys::BrokerLink link, UniqueFd listener,
               sys::TaskBoard board, TwoStores stores, task::StoreContents contents)
    : options_(std::move(options)),
      loop_(std::move(loop)),
      link_(std::move(link)),
      board_(std::move(board)),
      parts_(options_.spool),
      stores_(std::move(stores)),
      contents_(std::move(contents)),
      scratch_(kScratchBytes),
      reactor_(loop_),
      listener_(std::move(listener)),
      entropy_(std::random_device{}()),
      next_id_(contents_.last_id.value + 1) {
  stores_.add_claims(contents_);
}

Broker::~Broker() {
  drains_.clear();
  server_.reset();
}

int Broker::run() {
  auto link =
      loop_.watch(link_.fd(), EPOLLIN, sys::Priority::keeper, [this](std::uint32_t) { on_link(); });
  auto store = loop_.watch(stores_.fd(), EPOLLIN, sys::Priority::normal,
                           [this](std::uint32_t) { on_store(); });
  auto timer = loop_.timer(sys::Priority::normal, [this] { on_deadline(); });
  auto moment = loop_.timer(sys::Priority::client, [this] { on_moment(); });
  auto forget = loop_.timer(sys::Priority::idle, [this] { stores_.forget_now(); });
  if (!link || !store || !timer || !moment || !forget) {
    spdlog::error("the event loop takes nothing in");
    return 1;
  }
  link_watch_ = std::move(*link);
  store_watch_ = std::move(*store);
  timer_ = std::move(*timer);
  moment_ = std::move(*moment);
  forget_ = std::move(*forget);
  loop_.after_turn([this] { after_turn(); });
  const auto code = loop_.run();
  return code ? *code : 1;
}

// Read once a turn, which is short.
task::Now Broker::now() {
  if (!now_) now_ = {sys::now(), task::WallTime{sys::realtime_ns()}};
  return *now_;
}

QueueRunner* Broker::find(std::string_view pool) {
  const auto found = queues_.find(pool);
  return found == queues_.end() || !is_present(*found->second) ? nullptr : found->second.get();
}

QueueRunner* Broker::by_id(std::uint32_t id) {
  for (const auto& entry : queues_) {
    if (entry.second->settings().id == id) return entry.second.get();
  }
  return nullptr;
}

// ---- the supervisor ----

void Broker::on_link() {
  for (int i = 0; i < kMessagesATurn; ++i) {
    auto received = link_.receive();
    if (!received) return link_broke(received.error());
    if (!*received) return;
    auto message = sys::decode_to_broker((*received)->first, std::move((*received)->second));
    if (!message) return link_broke(message.error());
    std::visit([this](auto& each) { handle(each); }, *message);
  }
}

// Both the supervisor and the keeper, who holds the supervisor's end, are gone.
void Broker::link_broke(const Error& why) {
  spdlog::error("mtd is gone ({}): the broker ends", why.message);
  link_watch_ = {};
  loop_.stop(1);
}

void Broker::handle(const Welcome& welcome) {
  Hello hello;
  sys::put_text(hello.release, MTD_VERSION);
  if (welcome.version != kLinkVersion) spdlog::warn("the supervisor is of another version");
  link_.send(hello);
  told_.clear();
  for (const auto& entry : queues_)
    entry.second->begin_sync();
}

void Broker::handle(const Pool& pool) {
  QueueSettings settings = settings_of(pool);
  const std::string name = settings.spec.pool;
  told_.insert(name);
  const auto known = queues_.find(name);
  if (known != queues_.end()) {
    settings.token = known->second->settings().token;
    if (absent_.erase(name) != 0) known->second->operate(task::Resume{});
    known->second->reconfigure(std::move(settings));
  } else {
    settings.token = by_token_.size() + 1;
    auto recovered = contents_.pools.find(name);
    auto queue = std::make_unique<QueueRunner>(
        *this, QueueRunner::Places{loop_, link_, board_, scratch_, parts_}, std::move(settings),
        recovered == contents_.pools.end() ? task::Recovered{} : std::move(recovered->second));
    if (recovered != contents_.pools.end()) contents_.pools.erase(recovered);
    by_token_.push_back(queue.get());
    QueueRunner& added = *queue;
    queues_.emplace(name, std::move(queue));
    added.recall();
    if (synced_) added.end_sync();
    changed(added);
  }
  max_body_ = 1024;
  for (const auto& entry : queues_)
    max_body_ = std::max<std::size_t>(max_body_, entry.second->settings().max_body);
}

void Broker::handle(const PoolGone& gone) {
  QueueRunner* queue = by_id(gone.id);
  if (queue == nullptr) return;
  if (absent_.insert(queue->pool()).second) queue->apply(task::Close{});
}

void Broker::handle(sys::AttachedSocket& attached) {
  QueueRunner* queue = by_id(attached.message.worker.pool);
  if (queue != nullptr) queue->attach(attached.message, std::move(attached.fd));
}

void Broker::handle(const Drain& drain) {
  QueueRunner* queue = by_id(drain.worker.pool);
  if (queue != nullptr) {
    queue->drain(drain);
  } else {
    link_.send(Drained{{}, drain.worker});
  }
}

void Broker::handle(const Ended& ended) {
  QueueRunner* queue = by_id(ended.worker.pool);
  if (queue != nullptr) {
    queue->end(ended);
  } else {
    link_.send(EndedTaken{{}, ended.worker});
  }
}

void Broker::handle(const Synced&) {
  for (const auto& [name, queue] : queues_) {
    if (told_.count(name) == 0 && absent_.insert(name).second) queue->apply(task::Close{});
    queue->end_sync();
  }
  if (!std::exchange(synced_, true)) {
    sort_out_files();
    control::AccessPolicy policy;
    policy.owner = options_.owner;
    policy.operate_group = options_.operate_gid;
    policy.readonly_group = options_.readonly_gid;
    control::ControlLimits limits;
    limits.clients = options_.max_clients;
    control::ServiceInfo info;
    info.version = MTD_VERSION;
    info.interface = &control::task_interface();
    handlers_ = make_task_handlers(*this);
    server_ = std::make_unique<control::ControlServer>(reactor_, *handlers_, std::move(listener_),
                                                       policy, limits, info);
    server_->on_audit([](const control::AuditRecord& record) {
      if (record.refused)
        spdlog::info("tasks: uid {} pid {} was refused {}", record.peer.credentials.uid,
                     record.peer.credentials.pid, record.method);
    });
  }
  link_.send(Serving{});
}

// What a former broker left in files: parts of answers that still come, results, and what nobody
// needs any more.
void Broker::sort_out_files() {
  for (const PartSpool::Name& name : parts_.unknown()) {
    const task::TaskId id{name.first};
    const QueueRunner* queue = holder_of(id);
    if (queue != nullptr && queue->queue().is_running(id, name.second)) {
      parts_.is_parts(name);
      continue;
    }
    task::FindTask question;
    question.id = id;
    question.with_answer = true;
    ask(question, [this, name](const task::StoreReply& reply) {
      if (!reply.error.empty()) return;  // it stays until somebody can say what it is
      const bool wanted = !reply.tasks.empty() && reply.tasks.front().answer &&
                          reply.tasks.front().answer->file == PartSpool::file_of(name);
      wanted ? parts_.is_result(name) : parts_.is_nothing(name);
    });
  }
}

void Broker::handle(const Stop&) {
  stopping_ = true;
  if (server_) server_->set_listener({});
  const auto clients = clients_;
  for (const auto& entry : clients)
    entry.second->flush();
}

// ---- the store ----

void Broker::submit(QueueRunner& queue, task::StoreOp op) {
  op.token = queue.settings().token;
  batch_.push_back(std::move(op));
}

void Broker::remove(std::vector<task::TaskId> ids) {
  task::StoreOp op;
  op.what = task::RemoveOp{std::move(ids)};
  batch_.push_back(std::move(op));
}

void Broker::ask(task::StoreQuestion question, Replied replied) {
  const std::uint64_t token = next_question_++;
  submit_batch();  // questions see what was submitted before them
  auto reply = stores_.ask(token, std::move(question));
  if (!reply) {
    questions_.emplace(token, std::move(replied));
    return;
  }
  // Never before this returns.
  loop_.post(sys::Priority::normal,
             [replied = std::move(replied), reply = std::move(*reply)]() mutable {
               replied(std::move(reply));
             });
}

void Broker::apply(task::StoreDone done) {
  for (const std::string& file : done.files)
    parts_.remove_result(file);
  const std::uint64_t token = done.op.token;
  if (token > 0 && token <= by_token_.size()) by_token_[token - 1]->apply(std::move(done));
}

// What is done at once may lead to more. Completions are applied in their order, also when one of
// them leads to a question and so to this again.
void Broker::submit_batch() {
  const bool nested = std::exchange(submitting_, true);
  while (!batch_.empty() || (!nested && !done_at_once_.empty())) {
    if (!batch_.empty()) {
      under_way_ += batch_.size();
      auto done = stores_.submit(std::exchange(batch_, {}));
      under_way_ -= done.size();
      if (!nested && done_at_once_.empty()) {
        for (task::StoreDone& one : done)
          apply(std::move(one));
        continue;
      }
      std::move(done.begin(), done.end(), std::back_inserter(done_at_once_));
    }
    if (nested) continue;
    for (std::size_t count = done_at_once_.size(); count > 0; --count) {
      task::StoreDone done = std::move(done_at_once_.front());
      done_at_once_.pop_front();
      apply(std::move(done));
    }
  }
  submitting_ = nested;
}

void Broker::end_if_idle() {
  if (stopping_ && under_way_ == 0 && batch_.empty() && unsynced_.empty()) loop_.stop(0);
}

void Broker::on_store() {
  for (auto& output : stores_.take()) {
    if (auto* done = std::get_if<task::StoreDone>(&output)) {
      --under_way_;
      if (task::is_unsynced_put(*done))
        unsynced_.emplace_back(std::get<task::PutOp>(done->op.what).ticket, std::nullopt);
      apply(std::move(*done));
      continue;
    }
    if (const auto* synced = std::get_if<task::StoreSynced>(&output)) {
      handle(*synced);
      continue;
    }
    auto& [token, reply] = std::get<task::StoreReplied>(output);
    for (const std::string& file : reply.files)
      parts_.remove_result(file);
    const auto question = questions_.find(token);
    if (question == questions_.end()) continue;
    const Replied replied = std::move(question->second);
    questions_.erase(question);
    replied(std::move(reply));
  }
}

// Accepted means that the disk has it.
void Broker::handle(const task::StoreSynced& synced) {
  for (std::uint32_t i = 0; i < synced.puts && !unsynced_.empty(); ++i) {
    const auto [ticket, accepted] = std::move(unsynced_.front());
    unsynced_.pop_front();
    if (synced.kept) {
      if (accepted) tell(*accepted);
    } else if (const auto put = puts_.find(ticket.value); put != puts_.end()) {
      answer(task::Refused{ticket, task::Refusal::store_failed}, std::string(put->second.pool));
    }
  }
}

void Broker::on_deadline() {
  const Instant at = sys::now();
  for (const auto& entry : queues_) {
    if (entry.second->queue().next_deadline() <= at) entry.second->apply(task::Tick{});
  }
  arm_timer();
}

// While tasks run, a deadline that has gone leaves the timer as it is: to set it anew for each of
// them costs more than to wake once too early. At rest it says exactly when there is something.
void Broker::arm_timer() {
  Instant first = Instant::never();
  bool runs = false;
  for (const auto& entry : queues_) {
    first = std::min(first, entry.second->queue().next_deadline());
    runs = runs || entry.second->queue().view().running > 0;
  }
  if (!runs || first < timer_.deadline()) timer_.arm(first);
}

// After every handler: what it led to goes out together.
void Broker::after_turn() {
  submit_batch();
  if (stores_.is_to_forget() && forget_.deadline().is_never())
    forget_.arm(sys::now() + kForgetPause);
  if (!changed_.empty()) {
    for (QueueRunner* queue : changed_)
      queue->show();
    changed_.clear();
    arm_timer();
  }
  if (link_.wants_write()) {
    if (const auto flushed = link_.flush(); !flushed) return link_broke(flushed.error());
  }
  if (link_.wants_write() != link_wants_write_) {
    link_wants_write_ = link_.wants_write();
    link_watch_.set_events(link_wants_write_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  end_if_idle();
  now_.reset();
}

// ---- clients ----

void Broker::open(UniqueFd socket, std::string unread) {
  auto client = std::make_shared<ClientStream>(*this, loop_, std::move(socket));
  clients_[client.get()] = client;
  if (const auto started = client->start(std::move(unread)); !started) {
    spdlog::warn("a client is sent away: {}", started.error().message);
    client->close();
  }
}

void Broker::put(ClientStream& client, PutFrame frame, std::string body) {
  const auto refuse = [&](std::string_view error, const std::string& message) {
    client.answered();
    client.no(frame.seq, error, message);
  };
  if (stopping_) return refuse("ShuttingDown", "mtd is stopping");
  QueueRunner* queue = find(frame.pool);
  if (queue == nullptr) {
    return refuse("NoSuchPool",
                  "no pool '" + escape_for_terminal(frame.pool) +
                      "' has a queue of tasks; \"tasks\" in the configuration gives it one");
  }
  if (body.size() > queue->settings().max_body) {
    return refuse("TooBig", "the body has " + std::to_string(body.size()) + " bytes, more than " +
                                std::to_string(queue->settings().max_body) + " (tasks.max_body)");
  }
  auto content = std::make_shared<task::TaskBody>();
  content->uid = std::move(frame.uid);
  content->name = std::move(frame.name);
  content->args = std::move(frame.args);
  content->data = std::move(body);
  task::PutTask task;
  task.id = {next_id_++};
  task.body = std::move(content);
  task.priority = frame.priority;
  task.delay = frame.delay;
  task.at = frame.at;
  task.expires = frame.expires;
  task.timeout = frame.timeout;
  task.max_attempts = frame.max_attempts;
  task.group = std::move(frame.group);
  task.unique = std::move(frame.unique);
  task::Put put;
  put.ticket = new_ticket();
  put.tasks.push_back(std::move(task));
  put.block = frame.block;
  puts_[put.ticket.value] = {client.weak_from_this(), frame.seq, frame.watch, frame.attached,
                             queue->pool()};
  queue->apply(std::move(put));
}

void Broker::answer(const task::PutAccepted& accepted) {
  // The last one, as a rule: it has just been written.
  const auto unsynced = std::find_if(unsynced_.rbegin(), unsynced_.rend(),
                                     [&](const auto& one) { return one.first == accepted.ticket; });
  if (unsynced == unsynced_.rend()) return tell(accepted);
  unsynced->second = accepted;
}

void Broker::tell(const task::PutAccepted& accepted) {
  const auto found = puts_.find(accepted.ticket.value);
  if (found == puts_.end()) return;
  const PutCall call = std::move(found->second);
  puts_.erase(found);
  const auto client = call.client.lock();
  const task::PutOutcome& outcome = accepted.tasks.front();
  if (!client || !client->is_open()) {
    // It has gone meanwhile; an attached task goes with it.
    if (call.attached && outcome.existed == task::Existed::no) {
      if (QueueRunner* queue = find(call.pool)) {
        task::Cancel gone;
        gone.ids = {outcome.id};
        gone.reason = task::Reason::detached;
        queue->apply(std::move(gone));
      }
    }
    return;
  }
  client->answered();
  if (outcome.existed == task::Existed::by_unique) {
    client->no(call.seq, "Duplicate", "a task with this unique key is not finished yet",
               std::nullopt, outcome.id);
    return;
  }
  const bool existed = outcome.existed == task::Existed::by_uid;
  client->ok(call.seq, outcome.id, existed, !existed && (call.watch || call.attached));
  if (call.attached) client->attach(outcome.id);
  if (!call.watch && !call.attached) return;
  if (existed) {
    watch_id(client, outcome.id, call.seq);
  } else {
    client->watch(outcome.id, call.seq);
    watchers_.emplace(outcome.id.value, client);
    // It may have begun before.
    if (const std::string* said = progress_of(outcome.id))
      client->progress(outcome.id, *said, sys::now());
  }
}

void Broker::call_in_a_moment(ClientStream& client) {
  moments_.add(client);
  if (moment_.deadline().is_never()) moment_.arm(client.wait_ends());
}

void Broker::on_moment() {
  moments_.end(sys::now());
  moment_.arm(moments_.next());
}

void Broker::answer(const task::Refused& refused, const std::string& pool) {
  if (const auto revive = revives_.find(refused.ticket.value); revive != revives_.end()) {
    const ReviveDone done = std::move(revive->second);
    revives_.erase(revive);
    done(false);
    return;
  }
  if (cancels_.count(refused.ticket.value) != 0) {  // the store is broken: nothing is cancelled
    task::CancelAnswered none;
    none.ticket = refused.ticket;
    return answer(none);
  }
  const auto found = puts_.find(refused.ticket.value);
  if (found == puts_.end()) return;
  const PutCall call = std::move(found->second);
  puts_.erase(found);
  const auto client = call.client.lock();
  if (!client) return;
  client->answered();
  const std::string name = escape_for_terminal(pool);
  switch (refused.why) {
    case task::Refusal::queue_full:
    case task::Refusal::too_many_waiting:
      return client->no(call.seq, "QueueFull",
                        "the queue of pool " + name +
                            " is full (tasks.max_queue, tasks.max_queue_bytes); try again later, "
                            "or wait for room with block_ms",
                        kRetryMs);
    case task::Refusal::too_large:
      return client->no(
          call.seq, "TooBig",
          "the task is larger than the queue of pool " + name + " may be (tasks.max_queue_bytes)");
    case task::Refusal::closed:
      return client->no(call.seq, "NotAccepting",
                        "pool " + name +
                            " takes no tasks since it was drained; `mtctl pool resume " + name +
                            "` lets it");
    case task::Refusal::store_full:
      return client->no(
          call.seq, "StoreFull",
          "there is no room for tasks on the disk (tasks.quota, or its file system is full)",
          kRetryMs);
    case task::Refusal::store_failed:
      return client->no(
          call.seq, "StoreFailed",
          "the store of tasks is broken; mtd's log says how, and a restart of mtd opens it again");
    case task::Refusal::no_such_task:
    case task::Refusal::unique_taken:
      return client->no(call.seq, "BadRequest", "the task cannot be put");
  }
}

// First the watch, then the look: an end in between is not missed, and told once.
void Broker::watch_id(const std::shared_ptr<ClientStream>& client, task::TaskId id,
                      std::int64_t seq) {
  client->watch(id, seq);
  watchers_.emplace(id.value, client);
  task::FindTask question;
  question.id = id;
  question.with_answer = true;
  ask(question, [weak = std::weak_ptr(client), id](const task::StoreReply& reply) {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->is_open() || !waiting->watches(id)) return;
    if (!reply.tasks.empty() && task::is_final(reply.tasks.front().row.facts.state))
      waiting->end(end_of(reply.tasks.front()));
  });
}

void Broker::wait(ClientStream& client, const WaitFrame& frame) {
  task::FindTask question;
  question.id = frame.id;
  question.uid = frame.uid;
  question.with_answer = true;
  ask(question, [this, weak = client.weak_from_this(), seq = frame.seq](task::StoreReply reply) {
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

void Broker::tell_later(ClientStream& client, std::int64_t seq, task::TaskId id) {
  task::FindTask question;
  question.id = id;
  question.with_answer = true;
  ask(question, [weak = client.weak_from_this(), seq, id](const task::StoreReply& reply) {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->is_open()) return;
    TaskEnd end;
    end.id = id;
    if (!reply.tasks.empty()) end = end_of(reply.tasks.front());
    waiting->tell(seq, end);
  });
}

QueueRunner* Broker::holder_of(task::TaskId id) {
  for (const auto& entry : queues_) {
    if (entry.second->queue().find(id)) return entry.second.get();
  }
  return nullptr;
}

void Broker::cancel(ClientStream& client, const CancelFrame& frame) {
  QueueRunner* queue = holder_of(frame.id);
  if (queue == nullptr) {
    client.no(frame.seq, "NoSuchTask", "there is no such task, or it has ended");
    return;
  }
  task::Cancel cancel;
  cancel.ids = {frame.id};
  cancel.now = frame.now;
  this->cancel(*queue, std::move(cancel),
               [weak = client.weak_from_this(), frame](const task::CancelAnswered&) {
                 if (const auto asking = weak.lock()) asking->ok(frame.seq, frame.id, false);
               });
}

void Broker::cancel(QueueRunner& queue, task::Cancel cancel, CancelDone done) {
  if (cancel.whole_pool || !cancel.group.empty()) {
    std::vector<task::TaskId> ids = queue.queue().ids(cancel.group);
    ids.insert(ids.end(), cancel.ids.begin(), cancel.ids.end());
    cancel.whole_pool = false;
    cancel.group.clear();
    cancel.ids.clear();
    return cancel_more(std::make_shared<Cancelling>(
        Cancelling{queue, std::move(cancel), std::move(ids), 0, {}, std::move(done)}));
  }
  cancel.ticket = new_ticket();
  cancels_[cancel.ticket.value] = std::move(done);
  queue.apply(std::move(cancel));
}

// Others take their turns in between, in the loop and at the store.
void Broker::cancel_more(const std::shared_ptr<Cancelling>& job) {
  const std::size_t end = std::min(job->at + kCancelledAtOnce, job->ids.size());
  task::Cancel piece = job->request;
  piece.ticket = new_ticket();
  for (; job->at < end; ++job->at)
    piece.ids.push_back(job->ids[job->at]);
  cancels_[piece.ticket.value] = [this, job](const task::CancelAnswered& answered) {
    job->sum.cancelled += answered.cancelled;
    job->sum.asked += answered.asked;
    job->sum.unknown += answered.unknown;
    if (job->at == job->ids.size()) return job->done(job->sum);
    loop_.post(sys::Priority::client, [this, job] { cancel_more(job); });
  };
  job->queue.apply(std::move(piece));
}

void Broker::answer(const task::CancelAnswered& answered) {
  const auto found = cancels_.find(answered.ticket.value);
  if (found == cancels_.end()) return;
  const CancelDone done = std::move(found->second);
  cancels_.erase(found);
  done(answered);
}

void Broker::revive(QueueRunner& queue, task::TaskId id, ReviveDone done) {
  const task::Ticket ticket = new_ticket();
  revives_[ticket.value] = std::move(done);
  queue.apply(task::Revive{ticket, id});
}

void Broker::answer(const task::Revived& revived) {
  const auto found = revives_.find(revived.ticket.value);
  if (found == revives_.end()) return;
  const ReviveDone done = std::move(found->second);
  revives_.erase(found);
  done(true);
}

void Broker::forget(const ForgetFrame& frame) {
  if (holder_of(frame.id) == nullptr) remove({frame.id});
}

void Broker::settled(const task::Settled& settled) {
  progress_.erase(settled.id.value);
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

void Broker::progress(task::TaskId id, const std::string& members) {
  if (progress_.size() < kMaxProgress || progress_.count(id.value) != 0)
    progress_[id.value] = members;
  const auto [first, past] = watchers_.equal_range(id.value);
  for (auto at = first; at != past; ++at) {
    if (const auto client = at->second.lock()) client->progress(id, members, sys::now());
  }
}

const std::string* Broker::progress_of(task::TaskId id) const {
  const auto found = progress_.find(id.value);
  return found == progress_.end() ? nullptr : &found->second;
}

void Broker::closed(ClientStream& client) {
  const auto found = clients_.find(&client);
  if (found == clients_.end()) return;
  const std::shared_ptr<ClientStream> self = std::move(found->second);
  clients_.erase(found);
  for (const auto& entry : client.watched()) {
    const auto [first, past] = watchers_.equal_range(entry.first.value);
    for (auto at = first; at != past;) {
      at = at->second.lock() == self ? watchers_.erase(at) : std::next(at);
    }
  }
  std::map<QueueRunner*, std::vector<task::TaskId>> attached;
  for (const task::TaskId id : client.attached()) {
    if (QueueRunner* queue = holder_of(id)) attached[queue].push_back(id);
  }
  for (auto& [queue, ids] : attached) {
    task::Cancel gone;
    gone.ids = std::move(ids);
    gone.reason = task::Reason::detached;
    queue->apply(std::move(gone));
  }
  // Puts that wait for room have nobody to be told.
  std::vector<std::pair<std::uint64_t, std::string>> waiting;
  for (const auto& [ticket, call] : puts_) {
    if (call.client.lock() == self) waiting.emplace_back(ticket, call.pool);
  }
  for (const auto& [ticket, pool] : waiting) {
    if (QueueRunner* queue = find(pool)) queue->apply(task::Forget{{ticket}});
  }
}

// ---- drains ----

void Broker::when_drained(const std::string& pool, std::shared_ptr<control::Call> call) {
  drains_.emplace(pool, std::move(call));
}

void Broker::drained(const std::string& pool) {
  const auto [first, past] = drains_.equal_range(pool);
  std::vector<std::shared_ptr<control::Call>> calls;
  for (auto at = first; at != past; ++at)
    calls.push_back(at->second);
  drains_.erase(first, past);
  for (const auto& call : calls)
    call->reply(nlohmann::json{{"remaining", 0}});
}

}  // namespace mtd::broker
