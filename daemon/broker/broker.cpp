#include "daemon/broker/broker.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/task_methods.h"
#include "daemon/broker/pool_settings.h"
#include "daemon/broker/task_handlers.h"
#include "daemon/sys/clock.h"

namespace mtd::broker {
namespace {

constexpr int kMessagesATurn = 64;
// What a worker's socket can hold, and more.
constexpr std::size_t kScratchBytes = 1024 * 1024;

}  // namespace

Broker::Broker(BrokerOptions options, sys::EventLoop loop, sys::BrokerLink link, UniqueFd listener,
               sys::TaskBoard board, TwoStores stores, task::StoreContents contents)
    : options_(std::move(options)),
      loop_(std::move(loop)),
      link_(std::move(link)),
      board_(std::move(board)),
      parts_(options_.spool),
      contents_(std::move(contents)),
      scratch_(kScratchBytes),
      store_(*this, loop_, std::move(stores), parts_),
      requests_(loop_),
      clients_({loop_, queues_, store_, requests_, parts_}, contents_.last_id),
      reactor_(loop_),
      listener_(std::move(listener)),
      entropy_(std::random_device{}()) {
  store_.add_claims(contents_);
}

Broker::~Broker() {
  drains_.clear();
  server_.reset();
}

int Broker::run() {
  auto link =
      loop_.watch(link_.fd(), EPOLLIN, sys::Priority::keeper, [this](std::uint32_t) { on_link(); });
  auto timer = loop_.timer(sys::Priority::normal, [this] { on_deadline(); });
  if (!link || !timer || !store_.start() || !clients_.start()) {
    spdlog::error("the event loop takes nothing in");
    return 1;
  }
  link_watch_ = std::move(*link);
  timer_ = std::move(*timer);
  loop_.after_turn([this] { after_turn(); });
  const auto code = loop_.run();
  return code ? *code : 1;
}

// Read once a turn, which is short.
task::Now Broker::now() {
  if (!now_) now_ = {sys::now(), task::WallTime{sys::realtime_ns()}};
  return *now_;
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
  queues_.begin_sync();
}

void Broker::handle(const Pool& pool) {
  QueueSettings settings = settings_of(pool);
  // Pools come and go by other names; there are never more at once than places.
  if (synced_ && !board_.has_place(settings.id)) queues_.sort_out(board_);
  if (queues_.told(settings) != nullptr) return;
  settings.token = queues_.next_token();
  task::Recovered recovered;
  if (auto left = contents_.pools.extract(settings.spec.pool)) recovered = std::move(left.mapped());
  QueueRunner& added = queues_.add(std::make_unique<QueueRunner>(
      *this, QueueRunner::Places{loop_, link_, board_, scratch_, parts_}, std::move(settings),
      std::move(recovered)));
  added.recall();
  if (synced_) added.end_sync();
  changed(added);
}

void Broker::handle(sys::AttachedSocket& attached) {
  QueueRunner* queue = queues_.by_id(attached.message.worker.pool);
  if (queue != nullptr) queue->attach(attached.message, std::move(attached.fd));
}

void Broker::handle(const Drain& drain) {
  QueueRunner* queue = queues_.by_id(drain.worker.pool);
  if (queue != nullptr) {
    queue->drain(drain);
  } else {
    link_.send(Drained{{}, drain.worker});
  }
}

void Broker::handle(const Ended& ended) {
  QueueRunner* queue = queues_.by_id(ended.worker.pool);
  if (queue != nullptr) {
    queue->end(ended);
  } else {
    link_.send(EndedTaken{{}, ended.worker});
  }
}

void Broker::handle(const Synced&) {
  queues_.end_sync();
  if (!std::exchange(synced_, true)) {
    keep_rules_of_old_pools();
    queues_.sort_out(board_);
    sort_out_files();
    serve();
  }
  link_.send(Serving{});
}

// Of pools that left the configuration before this broker began: what has ended there is kept as
// long as by default, and no longer. Where tasks are left nothing is done before their pool is
// back, since nobody knows its rules.
void Broker::keep_rules_of_old_pools() {
  for (auto at = contents_.pools.begin(); at != contents_.pools.end();) {
    const task::Recovered& left = at->second;
    const bool has_ended = !left.oldest_done.is_never() || !left.oldest_dead.is_never();
    if (!left.tasks.empty() || !has_ended) {
      ++at;
      continue;
    }
    QueueSettings settings;
    settings.spec.pool = at->first;
    settings.id = ~static_cast<std::uint32_t>(queues_.next_token());  // of no pool
    settings.token = queues_.next_token();
    QueueRunner& added = queues_.add(std::make_unique<QueueRunner>(
        *this, QueueRunner::Places{loop_, link_, board_, scratch_, parts_}, std::move(settings),
        std::move(at->second)));
    queues_.gone(added.settings().id);
    added.end_sync();
    at = contents_.pools.erase(at);
  }
}

void Broker::serve() {
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

// What a former broker left in files: parts of answers that still come, results, and what nobody
// needs any more.
void Broker::sort_out_files() {
  for (const PartSpool::Name& name : parts_.unknown()) {
    const task::TaskId id{name.first};
    const QueueRunner* queue = queues_.holder_of(id);
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
  clients_.stop();
}

// ---- queues and the store ----

void Broker::submit(QueueRunner& queue, task::StoreOp&& op) {
  op.token = queue.settings().token;
  store_.submit(std::move(op));
}

void Broker::done(task::StoreDone&& done) {
  clients_.written(done);
  if (QueueRunner* queue = queues_.by_token(done.op.token)) queue->apply(std::move(done));
}

void Broker::answer(const task::Refused& refused, const std::string& pool) {
  if (!requests_.answer(refused)) clients_.refuse(refused, pool);
}

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

// ---- turns ----

void Broker::on_deadline() {
  const Instant at = sys::now();
  for (const auto& entry : queues_.all()) {
    if (entry.second->queue().next_deadline() <= at) entry.second->apply(task::Tick{});
  }
  arm_timer();
}

// A deadline that has gone leaves the timer as it is: to set it anew for each task costs more than
// to wake once too early, after which it says exactly when there is something.
void Broker::arm_timer() {
  Instant first = Instant::never();
  for (const auto& entry : queues_.all())
    first = std::min(first, entry.second->queue().next_deadline());
  if (first < timer_.deadline()) timer_.arm(first);
}

void Broker::handle(const Ping&) {
  pinged_ = true;
  Pong pong;
  if (store_.is_owed() || clients_.waits_for_sync())
    pong.store_silence = store_.silence(now().instant).count_ns();
  link_.send(pong);
}

// Somebody has removed the socket's name; at the former one nobody can come any more.
void Broker::handle(sys::NewListener& listener) {
  if (stopping_ || !listener.fd) return;
  if (server_) {
    server_->set_listener(std::move(listener.fd));
  } else {
    listener_ = std::move(listener.fd);
  }
}

// A turn that only answers a question is none: the supervisor would never stop asking.
void Broker::tell_work() {
  if (std::exchange(pinged_, false) || !synced_ || now().instant < working_again_) return;
  working_again_ = now().instant + Duration::nanoseconds(kWorkingPauseNs);
  link_.send(Working{});
}

// After every handler: what it led to goes out together.
void Broker::after_turn() {
  tell_work();
  store_.end_turn();
  while (clients_.flush())
    store_.end_turn();
  if (!changed_.empty()) {
    for (QueueRunner* queue : changed_)
      queue->show();
    changed_.clear();
    arm_timer();
  }
  store_.begin_sync();
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

void Broker::end_if_idle() {
  if (stopping_ && store_.is_idle() && !clients_.waits_for_sync()) loop_.stop(0);
}

}  // namespace mtd::broker
