#include "daemon/supervisor/supervisor.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <utility>

#include "common/exit_codes.h"
#include "daemon/supervisor/control_handlers.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"

namespace mtd::supervisor {
namespace {

constexpr int kMessagesATurn = 64;
// From the end of a dying keeper's descriptors to the end of its process.
constexpr Duration kKeeperEnd = Duration::seconds(2);

}  // namespace

Supervisor::Supervisor(Options options, std::vector<std::string> arguments, sys::EventLoop loop,
                       UniqueFd role_socket)
    : options_(std::move(options)),
      arguments_(std::move(arguments)),
      loop_(std::move(loop)),
      keeper_(std::move(role_socket)),
      reactor_(loop_),
      sockets_(keeper_),
      entropy_(std::random_device{}()) {}

Supervisor::~Supervisor() {
  // Answers that are still due go out from destructors of calls: the server is still there for
  // them.
  waits_.clear();
  pools_.clear();
}

int Supervisor::run() {
  auto watch = loop_.watch(keeper_.fd(), EPOLLIN, sys::Priority::keeper,
                           [this](std::uint32_t events) { on_keeper(events); });
  if (!watch) {
    spdlog::error("{}", watch.error().message);
    return 1;
  }
  keeper_watch_ = std::move(*watch);
  loop_.after_turn([this] { after_turn(); });
  const auto code = loop_.run();
  if (!code) {
    spdlog::error("{}", code.error().message);
    return 1;
  }
  return *code;
}

PoolRunner* Supervisor::find(std::string_view pool) {
  const auto found = pools_.find(pool);
  return found == pools_.end() ? nullptr : found->second.get();
}

PoolRunner* Supervisor::runner_of(std::uint32_t pool_id) {
  const auto found = by_id_.find(pool_id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::uint64_t Supervisor::strays() const {
  std::uint64_t strays = 0;
  for (const auto& entry : pools_)
    strays += entry.second->strays();
  return strays;
}

// Also so that a sleep is seen before what comes after it.
Moment Supervisor::moment() {
  const Instant now = sys::now();
  if (const auto asleep = sys::asleep()) sleeps_.look(now, *asleep);
  return this_moment(&sleeps_);
}

void Supervisor::on_keeper(std::uint32_t) {
  for (int i = 0; i < kMessagesATurn && !finished_; ++i) {
    auto message = keeper_.receive();
    if (!message) {
      keeper_gone(message.error());
      return;
    }
    if (!*message) return;
    std::visit([this](auto& each) { handle(each); }, **message);
  }
}

// Only its death ends the workers. If the conversation alone is broken, a successor goes on with
// it.
void Supervisor::keeper_gone(const Error& why) {
  if (!greeted_ && why.errno_value == EPROTO) {
    spdlog::error("{}", why.message);
    finished_ = true;
    loop_.stop(code(DaemonExit::mismatch));
    return;
  }
  const bool closed = why.errno_value == ECONNRESET || why.errno_value == EPIPE;
  if (sys::is_orphaned(hello_.keeper_pid, closed ? kKeeperEnd : Duration())) {
    spdlog::error("the keeper is gone ({}): ending all workers", why.message);
    end_without_keeper();
  } else {
    spdlog::error("the conversation with the keeper broke ({}): another supervisor goes on",
                  why.message);
    finished_ = true;
  }
  loop_.stop(1);
}

void Supervisor::on_notifications() {
  if (notifications_->drain()) return;
  // A flood: clients get a turn before the rest is read.
  notify_watch_.set_events(0);
  loop_.post(sys::Priority::client, [this] { notify_watch_.set_events(EPOLLIN); });
}

void Supervisor::handle(const keeper::Hello& hello) {
  hello_ = hello;
  greeted_ = true;
  keeper_.list();
  fetch_inherited();
  if (hello.epoch == 1) return;
  for (const char* name :
       {"control", "notify", "lock", "config", kHeldPrevious, kHeldFailed, "state", "events",
        "pools", kHeldSockets, kHeldLink, kHeldTasks, kHeldBoard, kHeldChanges}) {
    fetches_[keeper_.fetch(name)] = name;
  }
}

void Supervisor::handle(const keeper::Ack& ack) {
  if (upgrading_ && ack.header.serial == upgrading_->offer_serial && ack.error != 0) {
    refuse_upgrade(Error::from_errno("the keeper does not begin the upgrade", ack.error));
    return;
  }
  const auto spawn = spawns_.find(ack.header.serial);
  if (spawn == spawns_.end()) return;
  const keeper::Key key = spawn->second;
  spawns_.erase(spawn);
  if (ack.error != 0 && key.pool == kErrandPool) errands_->on_refused(key, ack.error);
  PoolRunner* pool = runner_of(key.pool);
  if (ack.error != 0 && pool != nullptr)
    pool->on_spawn_error({key.slot, key.incarnation}, ack.error);
}

void Supervisor::handle(const keeper::Entry& entry) {
  if (entry.header.serial != 0) spawns_.erase(entry.header.serial);
  if (!serving_) {
    auto& known = early_entries_[{entry.key.pool, entry.key.slot, entry.key.incarnation}];
    if (known.change <= entry.change) known = entry;
    return;
  }
  if (entry.key.pool == kErrandPool) {
    errands_->on_entry(entry);
  } else if (entry.key.pool == kOwnPool && entry.key.slot == kBrokerSlot) {
    tasks_->on_entry(entry);
    dirty_ = true;
  } else if (PoolRunner* pool = runner_of(entry.key.pool)) {
    pool->on_entry(entry);
    if (notifications_->has_waiting()) heard_of_speaker_ = true;
  } else if (entry.state == keeper::EntryState::exited ||
             entry.state == keeper::EntryState::failed) {
    keeper_.release(entry.key);
  }
}

void Supervisor::handle(const keeper::ListEnd&) {
  listed_ = true;
  begin_when_told();
}

void Supervisor::handle(sys::HeldDescriptor& held) {
  if (upgrading_ && held.message.header.serial == upgrading_->table_serial) {
    check_programs(held);
    return;
  }
  if (tasks_ && tasks_->on_held(held)) return;
  const auto fetch = fetches_.find(held.message.header.serial);
  if (fetch == fetches_.end()) return;
  if (held.message.error == 0) held_[fetch->second] = std::move(held.fd);
  if (fetch->second == kHeldSockets) fetch_listeners();
  fetches_.erase(held.message.header.serial);
  begin_when_told();
}

void Supervisor::handle(const keeper::Orphans& orphans) {
  orphans_ = orphans.total;
}

void Supervisor::handle(const keeper::Deaths& deaths) {
  deaths_ = deaths;
}

void Supervisor::handle(const keeper::Ping&) {
  keeper_.pong();
}

std::optional<keeper::Key> Supervisor::key_by_cgroup(int pid) {
  if (!cgroups_) return std::nullopt;
  const auto name = cgroups_->owner_of(pid);
  if (!name) return std::nullopt;
  const PoolRunner* pool = find(name->pool);
  if (pool == nullptr) return std::nullopt;
  return keeper::Key{pool->id(), name->slot, name->incarnation};
}

bool Supervisor::is_started(const keeper::Key& key) {
  const PoolRunner* pool = runner_of(key.pool);
  if (pool == nullptr) return false;
  const auto worker = pool->workers().find({key.slot, key.incarnation});
  return worker != pool->workers().end() && worker->second.told_spawned;
}

// After every handler: what was changed is followed up once.
void Supervisor::after_turn() {
  if (finished_) return;
  if (std::exchange(heard_of_speaker_, false)) on_notifications();
  for (int i = 0; i < 4 && dirty_; ++i)
    settle();
  sockets_.settle();
  if (tasks_) tasks_->flush();
  if (keeper_.wants_write()) {
    if (const auto flushed = keeper_.flush(); !flushed) {
      keeper_gone(flushed.error());
      return;
    }
  }
  if (keeper_.wants_write() != keeper_wants_write_) {
    keeper_wants_write_ = keeper_.wants_write();
    keeper_watch_.set_events(keeper_wants_write_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  arm_pools();
}

void Supervisor::settle() {
  dirty_ = false;
  follow_pools();
  check_essential();
  order_pools();
  waits_.look_again();
  drop_emptied_pools();
  if (growth_waits_) grant_waiting();
  persist_run_time_changes();
  if (serving_ && hello_.under_service_manager != 0 && status_timer_.deadline().is_never()) {
    status_timer_.arm(sys::now() + Duration::seconds(1));
  }
  if (memory_watch_) memory_watch_->look_again();
  if (stopping_) check_stopped();
}

void Supervisor::arm_pools() {
  Instant first = waits_.deadline();
  for (const auto& entry : pools_)
    first = std::min(first, entry.second->model().next_deadline());
  pools_timer_.arm(first);
}

void Supervisor::on_deadline() {
  (void)notifications_->drain();  // what a worker has said in time counts
  const Instant now = sys::now();
  if (waits_.deadline() <= now) dirty_ = true;
  for (const auto& entry : pools_) {
    if (entry.second->model().next_deadline() > now) continue;
    entry.second->apply(model::Tick{});
    dirty_ = true;
  }
}

void Supervisor::drop_emptied_pools() {
  for (auto at = pools_.begin(); at != pools_.end();) {
    auto& pool = *at->second;
    if (!pool.removing() || !pool.is_empty() || !pool.wind_up()) {
      ++at;
      continue;
    }
    const std::string name = at->first;
    auto successor = std::move(pool.successor);
    pool.forget_revisions();
    by_id_.erase(pool.id());
    state_->forget_pool(pool.id());
    commit();
    if (cgroups_) cgroups_->remove_pool(name);
    spdlog::info("pool {}: removed", name);
    at = pools_.erase(at);
    if (successor && !stopping_) {
      PoolRunner* again = add_pool(std::move(*successor));
      tasks_->configure(configuration_);  // the queue is its now
      again->apply(model::Tick{});
      dirty_ = true;
      return;  // the rest at the next look
    }
    dirty_ = true;
  }
}

}  // namespace mtd::supervisor
