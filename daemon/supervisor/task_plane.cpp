#include "daemon/supervisor/task_plane.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "common/escape.h"
#include "common/exit_status.h"
#include "daemon/supervisor/control_access.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/privileges.h"
#include "daemon/sys/runtime_dir.h"
#include "daemon/sys/spawn_spec.h"
#include "daemon/sys/task_socket.h"

namespace mtd::supervisor {
namespace {

constexpr const char* kLabel = ".broker";  // no pool has such a name
constexpr std::uint32_t kSetupMs = 30'000;
constexpr int kMessagesATurn = 256;
constexpr Duration kStoreSilence = Duration::seconds(10);
constexpr int kLastTurns = 16;  // of an end that has been told, which nobody makes longer

std::int64_t ns(Duration duration) {
  return duration.is_infinite() ? -1 : duration.count_ns();
}

broker::Ended message_of_end(const broker::WorkerRef& worker, const model::ExitRecord& exit) {
  broker::Ended ended;
  ended.worker = worker;
  const int status = exit.wait_status;
  if (exit.planned) {
    ended.cause = broker::EndCause::stopped;
  } else if (!exit.has_status()) {
    ended.cause = broker::EndCause::vanished;
  } else if (exit.cause == model::ExitCause::oom) {
    ended.cause = broker::EndCause::oom;
  } else if (WIFSIGNALED(status)) {
    ended.cause = broker::EndCause::signal;
    ended.number = WTERMSIG(status);
  } else {
    ended.cause = broker::EndCause::exit;
    ended.number = WEXITSTATUS(status);
  }
  return ended;
}

}  // namespace

TaskPlane::TaskPlane(sys::EventLoop& loop, sys::KeeperLink& keeper, Facts facts, Hooks hooks)
    : loop_(loop),
      keeper_(keeper),
      facts_(std::move(facts)),
      hooks_(std::move(hooks)),
      refusals_(loop) {
  auto timer = loop_.timer(sys::Priority::normal, [this] { start(); });
  if (timer) restart_timer_ = std::move(*timer);
  auto watch = loop_.timer(sys::Priority::normal, [this] { watch_broker(); });
  if (watch) watch_timer_ = std::move(*watch);
}

std::string TaskPlane::held_name(const broker::WorkerRef& worker) {
  return "task/" + std::to_string(worker.pool) + "." + std::to_string(worker.slot) + "." +
         std::to_string(worker.incarnation);
}

// ---- at the start ----

void TaskPlane::adopt(UniqueFd link, UniqueFd listener, UniqueFd board,
                      const std::optional<keeper::Entry>& entry) {
  listener_ = std::move(listener);
  if (board) {
    auto opened = sys::TaskBoard::open(std::move(board));
    if (opened) board_ = std::move(*opened);
  }
  if (!entry) return;
  key_ = entry->key;
  const bool lives =
      entry->state == keeper::EntryState::starting || entry->state == keeper::EntryState::running;
  if (!lives) {
    keeper_.release(entry->key);
    return;
  }
  running_ = true;
  if (link && board_ && listener_) {
    connect(std::move(link));
  } else {  // nobody can speak with it
    keeper_.signal(key_, SIGKILL, keeper::Scope::group);
  }
}

void TaskPlane::adopt_worker(const keeper::Key& key, std::uint64_t task_limit, bool ended) {
  Worker& worker = workers_[ref(key)];
  worker.task_limit = task_limit;
  if (ended) worker.ended = broker::Ended{{}, ref(key), broker::EndCause::vanished, 0};
}

void TaskPlane::begin(const config::Configuration& configuration, const std::string& socket_path) {
  begun_ = true;
  socket_path_ = socket_path;
  take(configuration);
  if (link_) tell_everything();
  start();
}

// Another directory, quota or user of the broker needs a restart of mtd.
void TaskPlane::configure(const config::Configuration& configuration) {
  const config::DaemonSpec before = daemon_;
  take(configuration);
  daemon_.task_directory = before.task_directory;
  daemon_.task_quota = before.task_quota;
  daemon_.task_uid = before.task_uid;
  daemon_.task_gid = before.task_gid;
  if (link_) tell_queues();
  start();
}

void TaskPlane::take(const config::Configuration& configuration) {
  daemon_ = configuration.daemon;
  queues_.clear();
  for (const auto& spec : configuration.pools) {
    if (spec.tasks.has_queue()) queues_[spec.name] = spec;
  }
  if (queues_.empty() || listener_) return;
  const mode_t mode = daemon_.operate_gid || daemon_.readonly_gid ? 0666 : 0600;
  auto bound = sys::bind_socket(socket_path_, sys::SocketKind::stream_listener, mode);
  if (bound) return replace_listener(std::move(*bound));
  problem_ = bound.error().message;
  spdlog::error("tasks: {}", escape_for_terminal(problem_));
}

void TaskPlane::replace_listener(UniqueFd listener) {
  const bool refuses = refusals_.takes_callers();
  refusals_.pass_on();
  listener_ = std::move(listener);
  keeper_.hold(kHeldTasks, listener_.get());
  if (refuses) refuse();
  if (link_) tell(broker::Listen{}, listener_.get());
}

// ---- the broker's life ----

void TaskPlane::start() {
  if (!begun_ || stopping_ || running_ || spawning_ || !listener_) return;
  if (queues_.empty()) return refuse();
  const auto spawned = spawn();
  if (spawned) return refusals_.pass_on();
  problem_ = spawned.error().message;
  if (hooks_.failed) hooks_.failed(problem_);
  start_later(model::BrokerEnd::cannot_work);
}

// What is wrong is told once, however often it is tried.
void TaskPlane::start_later(model::BrokerEnd end) {
  if (stopping_) return;
  const Instant now = sys::now();
  const Duration pause = pause_.after(now, end);
  restart_timer_.arm(now + pause);
  if (pause.is_zero() || end == model::BrokerEnd::served) return;  // callers need not wait long
  refuse();
  if (std::exchange(told_problem_, problem_) == problem_) return;
  spdlog::error("tasks: no broker can serve: {}; it is tried again in {}, then less and less often",
                escape_for_terminal(problem_), format_duration(pause));
}

void TaskPlane::refuse() {
  refusals_.begin(listener_.get(), access_of(daemon_, facts_.own_uid),
                  queues_.empty() ? "no pool of the configuration has \"tasks\""
                                  : "tasks cannot be served now, and mtd goes on trying: " +
                                        escape_for_terminal(problem_));
}

Result<UniqueFd> TaskPlane::encode_spec(const std::string& program) const {
  sys::SpawnSpec spec;
  spec.executable = program;
  spec.command = {"mtd-broker",
                  "--directory",
                  directory(),
                  "--life",
                  std::to_string(facts_.instance),
                  "--quota-mib",
                  std::to_string(daemon_.task_quota >> 20U),
                  "--log-level",
                  facts_.log_level,
                  "--owner",
                  std::to_string(facts_.own_uid),
                  "--clients",
                  std::to_string(daemon_.max_clients)};
  const auto add = [&](const char* name, const std::optional<std::uint32_t>& id) {
    if (!id) return;
    spec.command.emplace_back(name);
    spec.command.push_back(std::to_string(*id));
  };
  add("--uid", daemon_.task_uid);
  add("--gid", daemon_.task_gid);
  add("--operate-gid", daemon_.operate_gid);
  add("--readonly-gid", daemon_.readonly_gid);
  spec.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
                      "MTD_TAG=" + instance_prefix(facts_.instance) + kLabel};
  spec.limits = {{RLIMIT_NOFILE, sys::own_descriptor_limit(), sys::own_descriptor_limit()}};
  if (facts_.protects) spec.oom_score_adj = keeper::kRoleOomScore;
  spec.descriptors = {
      {1, 0}, {2, 1}, {broker::kLinkFd, 2}, {broker::kListenerFd, 3}, {broker::kBoardFd, 4}};
  return sys::encode(spec);
}

Result<void> TaskPlane::spawn() {
  const std::string program = hooks_.program();
  if (program.empty()) return Error{"mtd-broker is not beside mtd, nor in " MTD_LIBEXECDIR};
  if (directory().empty()) return Error{"there is no state directory to keep tasks in"};
  if (!board_) {
    auto board = sys::TaskBoard::create();
    if (!board) return board.error();
    board_ = std::move(*board);
    keeper_.hold(kHeldBoard, board_.fd());
  }
  auto link = sys::make_link();
  if (!link) return link.error();
  auto spec = encode_spec(program);
  if (!spec) return spec.error();
  const auto bytes = sys::read_memfd(spec->get(), keeper::kMaxSpecBytes);
  if (!bytes) return bytes.error();
  // Any number that no pool's revision has: those are hashes of whole specs.
  const std::uint64_t revision = 2;
  keeper_.revision(revision, spec->get(), static_cast<std::uint32_t>(bytes->size()), {1, 2}, 3);
  keeper_.hold(kHeldLink, link->first.get());
  key_ = {kOwnPool, kBrokerSlot, static_cast<std::uint64_t>(sys::realtime_ns())};
  WorkerLabel label;
  label.pool = kLabel;
  keeper_.spawn(key_, revision, encode(label), kSetupMs, -1,
                {link->second.get(), listener_.get(), board_.fd()});
  spawning_ = true;
  connect(std::move(link->first));
  tell_everything();
  return {};
}

void TaskPlane::connect(UniqueFd link) {
  link_watch_ = {};
  link_ = sys::BrokerLink(std::move(link));
  told_.clear();
  auto watch =
      loop_.watch(link_.fd(), EPOLLIN, sys::Priority::notify, [this](std::uint32_t) { on_link(); });
  if (!watch) {
    spdlog::error("tasks: {}", watch.error().message);
    return;
  }
  link_watch_ = std::move(*watch);
  link_wants_write_ = false;
}

void TaskPlane::on_entry(const keeper::Entry& entry) {
  if (!(entry.key == key_)) {
    if (entry.state == keeper::EntryState::exited || entry.state == keeper::EntryState::failed)
      keeper_.release(entry.key);
    return;
  }
  switch (entry.state) {
    case keeper::EntryState::starting:
    case keeper::EntryState::running:
      running_ = true;
      spawning_ = false;
      if (stopping_ && !serving_) keeper_.signal(key_, SIGKILL, keeper::Scope::group);
      return;
    case keeper::EntryState::failed:
    case keeper::EntryState::exited:
      break;
  }
  for (int turn = 0; link_ && turn < kLastTurns; ++turn)
    on_link();  // its last words: why it cannot work, above all
  watch_ = {};
  arm_watch();
  const bool asked = stop_told_, said_why = said_why_;
  const model::BrokerEnd end = asked || serving_ ? model::BrokerEnd::served
                               : said_why || entry.state == keeper::EntryState::failed
                                   ? model::BrokerEnd::cannot_work
                                   : model::BrokerEnd::died;
  running_ = spawning_ = serving_ = stop_told_ = said_why_ = store_hangs_ = false;
  link_watch_ = {};
  link_.close();
  fetches_.clear();
  syncing_ = false;
  keeper_.release(entry.key);
  if (entry.state == keeper::EntryState::failed) {
    problem_ = Error::from_errno("the keeper cannot start the broker", entry.error).message;
  } else if (!asked && !said_why) {
    problem_ = "the broker has ended: " + ExitStatus::from_wait(entry.wait_status).text();
  }
  if (!asked && end != model::BrokerEnd::cannot_work)
    spdlog::error("tasks: the broker (pid {}) has ended: {}; another one goes on", entry.pid,
                  ExitStatus::from_wait(entry.wait_status).text());
  start_later(end);
}

// ---- telling ----

broker::Pool TaskPlane::message_of(const config::PoolSpec& spec, std::uint32_t id) const {
  const config::TasksSpec& tasks = spec.tasks;
  broker::Pool pool;
  pool.id = id;
  pool.mode = static_cast<std::uint32_t>(tasks.mode);
  pool.timeout = ns(tasks.timeout);
  pool.grace = ns(tasks.grace);
  pool.retry_delay = ns(tasks.retry_delay);
  pool.retry_max = ns(tasks.retry_max);
  pool.queue_timeout = ns(tasks.queue_timeout);
  pool.result_ttl = ns(tasks.result_ttl);
  pool.dead_ttl = ns(tasks.dead_ttl);
  pool.max_queue = tasks.max_queue;
  pool.max_queue_bytes = tasks.max_queue_bytes;
  pool.max_body = tasks.max_body;
  pool.max_result = tasks.max_result;
  pool.max_attempts = tasks.max_attempts;
  pool.max_crashes = tasks.max_crashes;
  pool.credit = tasks.credit;
  pool.durability = static_cast<std::uint32_t>(tasks.durability);
  pool.on_full = static_cast<std::uint32_t>(tasks.on_full);
  pool.on_lost = static_cast<std::uint32_t>(tasks.on_lost);
  // What follows the work, or the want of it.
  const bool asks = spec.scaling.max != 0 || !spec.recycle.idle_timeout.is_zero();
  pool.reports_load = asks ? 1 : 0;
  sys::put_text(pool.name, spec.name);
  return pool;
}

void TaskPlane::tell_queues() {
  for (const auto& [name, spec] : queues_) {
    const auto id = hooks_.id_of(name);
    if (!id) continue;
    tell(message_of(spec, *id));
    told_[name] = *id;
  }
  for (auto at = told_.begin(); at != told_.end();) {
    if (queues_.count(at->first) != 0) {
      ++at;
      continue;
    }
    broker::PoolGone gone;
    gone.id = at->second;
    tell(gone);
    at = told_.erase(at);
  }
}

// Everything, from the beginning: whatever either side was in the middle of is forgotten.
void TaskPlane::tell_everything() {
  if (!begun_ || !link_) return;
  tell(broker::Welcome{});
  tell_queues();
  fetches_.clear();
  syncing_ = true;
  for (const auto& entry : workers_)
    fetches_[keeper_.fetch(held_name(entry.first))] = entry.first;
  if (fetches_.empty()) end_sync();
}

void TaskPlane::end_sync() {
  syncing_ = false;
  for (const auto& [worker, facts] : workers_) {
    if (facts.drain) tell(*facts.drain);
    if (facts.ended) tell(*facts.ended);
  }
  tell(broker::Synced{});
}

bool TaskPlane::on_held(sys::HeldDescriptor& held) {
  const auto fetch = fetches_.find(held.message.header.serial);
  if (fetch == fetches_.end()) return false;
  const broker::WorkerRef worker = fetch->second;
  fetches_.erase(fetch);
  const auto known = workers_.find(worker);
  if (known != workers_.end() && held.message.error == 0) {
    broker::Attach attach;
    attach.worker = worker;
    attach.task_limit = known->second.task_limit;
    tell(attach, held.fd.get());
  } else if (known != workers_.end() && !known->second.ended && hooks_.fact) {
    // Without its socket it can do no task any more.
    spdlog::error("tasks: the socket of a worker is lost; the worker is replaced");
    broker::Condemned condemned;
    condemned.worker = worker;
    condemned.cause = broker::KillCause::cancelled;
    hooks_.fact(key_of(worker), TaskFact(condemned));
  }
  if (syncing_ && fetches_.empty()) end_sync();
  return true;
}

// ---- workers ----

Result<UniqueFd> TaskPlane::make_socket(const keeper::Key& key, std::uint64_t task_limit) {
  auto ends = sys::make_task_socket();
  if (!ends) return ends.error();
  const broker::WorkerRef worker = ref(key);
  workers_[worker].task_limit = task_limit;
  keeper_.hold(held_name(worker), ends->first.get());
  if (link_ && begun_) {
    broker::Attach attach;
    attach.worker = worker;
    attach.task_limit = task_limit;
    tell(attach, ends->first.get());
  }
  return std::move(ends->second);
}

bool TaskPlane::drain(const keeper::Key& key, std::optional<Duration> deadline) {
  const auto known = workers_.find(ref(key));
  if (known == workers_.end() || known->second.ended) return false;
  broker::Drain drain;
  drain.worker = known->first;
  if (deadline && !deadline->is_infinite()) drain.deadline = deadline->count_ns();
  known->second.drain = drain;
  if (link_ && !syncing_) tell(drain);
  if (running_ || spawning_) return true;
  const auto place = board_ ? board_.look(known->first) : std::nullopt;
  return place && place->running > 0;  // without a broker it can still answer, but get nothing
}

void TaskPlane::ended(const keeper::Key& key, const model::ExitRecord& exit) {
  const auto known = workers_.find(ref(key));
  if (known == workers_.end() || known->second.ended) return;
  known->second.ended = message_of_end(known->first, exit);
  known->second.drain.reset();
  if (link_ && begun_ && !syncing_) tell(*known->second.ended);
}

bool TaskPlane::release_later(const keeper::Key& key) {
  const auto known = workers_.find(ref(key));
  if (known == workers_.end()) return false;
  known->second.release = true;
  if (!known->second.ended) {  // the model was done with it before anything was told
    known->second.ended = broker::Ended{{}, known->first, broker::EndCause::vanished, 0};
    if (link_ && begun_ && !syncing_) tell(*known->second.ended);
  }
  if (queues_.empty() && !running_ && !spawning_) {  // nobody is there to take note
    forget(known);
    return false;
  }
  return true;
}

void TaskPlane::forget(std::map<broker::WorkerRef, Worker>::iterator worker) {
  keeper_.drop(held_name(worker->first));
  workers_.erase(worker);
}

// ---- hearing ----

// Of an end that had not read everything itself the kernel says so once, before its last words.
void TaskPlane::on_link() {
  bool reset = false;
  for (int i = 0; i < kMessagesATurn; ++i) {
    const auto received = link_.receive();
    if (!received && received.error().errno_value == ECONNRESET && !std::exchange(reset, true))
      continue;
    if (!received) return drop_link(received.error());
    if (!*received) return;
    watch_.heard(sys::now());
    const auto message = sys::decode_to_supervisor((*received)->first);
    if (!message) return drop_link(message.error());
    std::visit([this](const auto& each) { handle(each); }, *message);
  }
}

// It ends, or speaks nonsense and is ended; its entry says when it is gone.
void TaskPlane::drop_link(const Error& why) {
  link_watch_ = {};
  link_.close();
  fetches_.clear();
  syncing_ = serving_ = false;
  if (why.errno_value == ECONNRESET || !running_) return;
  spdlog::error("tasks: the broker is ended: {}", why.message);
  keeper_.signal(key_, SIGKILL, keeper::Scope::group);
}

void TaskPlane::handle(const broker::Hello& hello) {
  const std::string release = sys::text_in(hello.release);
  if (hello.version == broker::kLinkVersion && release == MTD_VERSION) return;
  spdlog::info("tasks: the broker is of version {}; one of {} takes its place",
               escape_for_terminal(release), MTD_VERSION);
  stop_told_ = true;
  tell(broker::Stop{});
}

void TaskPlane::handle(const broker::Serving&) {
  problem_.clear();
  told_problem_.clear();
  refusals_.end();
  if (!std::exchange(serving_, true) && hooks_.serving) hooks_.serving();
}

void TaskPlane::handle(const broker::Failed& failed) {
  problem_ = sys::text_in(failed.text);
  said_why_ = true;
  if (hooks_.failed) hooks_.failed(problem_);
}

void TaskPlane::handle(const broker::EndedTaken& taken) {
  const auto known = workers_.find(taken.worker);
  if (known == workers_.end() || !known->second.ended) return;
  const bool release = known->second.release;
  if (!release) {  // the model still wants its entry; the broker needs it no more
    keeper_.drop(held_name(known->first));
    workers_.erase(known);
    return;
  }
  forget(known);
  keeper_.release(key_of(taken.worker));
}

void TaskPlane::handle(const broker::Backlog& backlog) {
  if (hooks_.backlog) hooks_.backlog(backlog.pool, backlog.waits != 0);
}

// The broker itself is well. Its tasks wait, and so does everybody who asks for them.
void TaskPlane::handle(const broker::Pong& pong) {
  const Duration silence = Duration::nanoseconds(pong.store_silence);
  const bool hangs = silence >= kStoreSilence;
  if (hangs) {
    problem_ = "their store has not answered for " + format_duration_brief(silence) +
               ": its disk hangs, or has too much to do";
    expect();  // asked again, until it goes on
  }
  if (std::exchange(store_hangs_, hangs) == hangs) return;
  if (hangs) {
    spdlog::error("tasks: {}", problem_);
  } else {
    spdlog::info("tasks: their store answers again");
    problem_.clear();
  }
  if (hooks_.failed) hooks_.failed(problem_);
}

void TaskPlane::expect() {
  watch_.expect(sys::now());
  arm_watch();
}

void TaskPlane::arm_watch() {
  if (watch_.next() != watched_) watch_timer_.arm(watched_ = watch_.next());
}

void TaskPlane::watch_broker() {
  using Step = model::BrokerWatch::Step;
  watched_ = Instant::never();
  const Step step = watch_.due(sys::now(), serving_);
  if (step == Step::ask) link_.send(broker::Ping{});
  if (step == Step::end && !is_stopped()) end_broker();
  if (step == Step::give_up && !is_stopped()) {
    problem_ = "the broker does not end even by SIGKILL, as where the disk of its store hangs";
    spdlog::error("tasks: {}", problem_);
    if (stopping_) {
      given_up_ = true;
    } else {
      refuse();
    }
    if (hooks_.failed) hooks_.failed(problem_);
  }
  arm_watch();
}

void TaskPlane::end_broker() {
  const Duration answer = serving_ ? model::BrokerWatch::kAnswer : model::BrokerWatch::kFirstAnswer;
  problem_ = stopping_ ? "the broker has not ended in time"
                       : "the broker has not answered for " + format_duration(answer);
  spdlog::error("tasks: {}: it is killed", problem_);
  keeper_.signal(key_, SIGKILL, keeper::Scope::group);
  if (hooks_.failed) hooks_.failed(problem_);
}

void TaskPlane::flush() {
  if (!link_) return;
  if (link_.wants_write()) {
    // Its last words come first: they say why it is gone.
    if (const auto flushed = link_.flush(); !flushed) return on_link();
  }
  if (link_.wants_write() != link_wants_write_ && link_watch_) {
    link_wants_write_ = link_.wants_write();
    link_watch_.set_events(link_wants_write_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
}

void TaskPlane::stop() {
  if (std::exchange(stopping_, true)) return;
  refusals_.end();
  stop_told_ = true;
  if (link_ && serving_) {
    link_.send(broker::Stop{});
  } else if (running_) {  // it has nothing that must be finished
    keeper_.signal(key_, SIGKILL, keeper::Scope::group);
  }
  watch_.stop(sys::now());
  arm_watch();
}

}  // namespace mtd::supervisor
