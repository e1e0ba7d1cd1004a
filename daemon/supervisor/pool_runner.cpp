#include "daemon/supervisor/pool_runner.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <utility>

#include "common/escape.h"
#include "daemon/supervisor/model/memory.h"
#include "daemon/supervisor/prober.h"
#include "daemon/supervisor/tree_scanner.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/pids_limit.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kKeptExits = 8;
constexpr int kFollowUps = 32;  // a turn of the loop; about a millisecond

}  // namespace

PoolRunner::PoolRunner(Services& services, config::PoolSpec spec, StateStore::Pool remembered,
                       const OlderSpecs& older)
    : services_(services),
      id_(remembered.record.id),
      revision_(std::max<std::uint64_t>(remembered.record.revision, 1)),
      newest_revision_(std::max(revision_, remembered.changes.newest)),
      model_(std::move(spec), revision_, sys::now(), memory_of(remembered, older)),
      record_(remembered.record),
      changes_(remembered.changes),
      removing_(remembered.record.removing) {
  record_.name = name();
  take_over(std::move(remembered));
}

PoolRunner::~PoolRunner() {
  drop_commands();
  for (auto& entry : workers_) {
    if (!services_.gate.cancel(keeper_key(entry.first))) leave_gate(entry.second);
    services_.prober.cancel(keeper_key(entry.first));
    services_.pids.erase(entry.second.pid);
    services_.scanner.forget(
        tag_of(services_.hello.instance, name(), entry.first.slot, entry.first.incarnation));
  }
}

const std::vector<ExitFacts>* PoolRunner::exits(std::uint32_t slot) const {
  const auto found = exits_.find(slot);
  return found == exits_.end() ? nullptr : &found->second;
}

keeper::Key PoolRunner::keeper_key(const model::WorkerKey& key) const {
  return {id_, key.slot, key.incarnation};
}

sys::CgroupName PoolRunner::cgroup_name(const model::WorkerKey& key) const {
  return {name(), key.slot, key.incarnation};
}

Result<void> PoolRunner::upload(const config::PoolSpec& spec, std::uint64_t revision) {
  const auto sockets = services_.sockets.of(spec);
  if (!sockets) return sockets.error().with_context("pool " + spec.name);
  const auto prepared = prepare_revision(spec, services_.revision_facts, *sockets);
  if (!prepared) return prepared.error();
  if (!prepared->warning.empty())
    spdlog::warn("pool {}: {}", spec.name, escape_for_terminal(prepared->warning));
  keeper_revisions_[revision] = {prepared->id, spec.spawn_fingerprint};
  services_.keeper.revision(prepared->id, prepared->spec.get(), prepared->spec_bytes,
                            prepared->descriptors, prepared->own);
  services_.sockets.use(prepared->id, spec);
  limits_.prepare(spec, services_.cgroups, services_.no_cgroups_reason);
  return {};
}

Result<void> PoolRunner::reconfigure(config::PoolSpec spec) {
  const auto& previous = model_.previous();
  const bool undo = previous && spec.spawn_fingerprint != model_.spec().spawn_fingerprint &&
                    previous->spec->spawn_fingerprint == spec.spawn_fingerprint;
  const std::uint64_t number = undo ? previous->number : newest_revision_ + 1;
  const auto uploaded = upload(spec, number);
  if (!uploaded) return uploaded;
  change_limits();
  revision_ = number;
  newest_revision_ = std::max(newest_revision_, number);
  demand_.clear();  // its sockets may be others now
  apply(model::ReconfigureCommand{std::move(spec), revision_});
  forget_unused_revisions();
  return {};
}

// Of the processes that run.
void PoolRunner::change_limits() {
  for (const auto& [key, record] : workers_) {
    if (record.in_cgroup && services_.cgroups && !record.told_end)
      limits_.change(cgroup_name(key), *services_.cgroups);
  }
}

void PoolRunner::forget_unused_revisions() {
  std::set<std::uint64_t> in_use;  // ids at the keeper
  for (const auto& worker : workers_)
    in_use.insert(worker.second.keeper_revision);
  // Processes are started from the current one, and from the one a failing roll-out goes back to.
  const bool may_go_back = model_.summary(sys::now()).rollout.state != model::RolloutState::none;
  const auto is_kept = [&](std::uint64_t number) {
    return number == revision_ ||
           (may_go_back && model_.previous() && number == model_.previous()->number);
  };
  for (const auto& [number, revision] : keeper_revisions_) {
    if (is_kept(number)) in_use.insert(revision.id);
  }
  for (auto at = keeper_revisions_.begin(); at != keeper_revisions_.end();) {
    if (is_kept(at->first) || in_use.count(at->second.id) != 0) {
      ++at;
      continue;
    }
    services_.keeper.forget(at->second.id);
    services_.sockets.release(at->second.id);
    at = keeper_revisions_.erase(at);
  }
}

// Spawns that still wait at the gate are not sent any more.
void PoolRunner::cancel_waiting() {
  if (services_.gate.waiting() == 0) return;
  std::vector<model::WorkerKey> cancelled;
  for (auto& [key, record] : workers_) {
    if (record.in_gate || record.told_spawned || record.told_end) continue;
    if (!services_.gate.cancel(keeper_key(key))) continue;
    record.told_end = true;
    cancelled.push_back(key);
  }
  for (const auto& key : cancelled) {
    queue(model::SpawnRefused{key, static_cast<int>(keeper::Stage::clone), ECANCELED});
  }
}

void PoolRunner::forget_revisions() {
  std::set<std::uint64_t> held;
  for (const auto& entry : keeper_revisions_)
    held.insert(entry.second.id);
  for (const std::uint64_t id : held) {
    services_.keeper.forget(id);
    services_.sockets.release(id);
  }
  keeper_revisions_.clear();
}

bool PoolRunner::is_current(const WorkerRecord& worker) const {
  const auto newest = keeper_revisions_.find(revision_);
  return newest != keeper_revisions_.end() && worker.keeper_revision == newest->second.id;
}

bool PoolRunner::uses_revision(std::uint64_t id) const {
  return std::any_of(keeper_revisions_.begin(), keeper_revisions_.end(),
                     [&](const auto& entry) { return entry.second.id == id; });
}

// Sockets of slots that are no more (reuse_port).
void PoolRunner::trim_sockets() {
  const auto& spec = model_.spec();
  if (std::none_of(spec.listen.begin(), spec.listen.end(),
                   [](const config::ListenSpec& socket) { return socket.reuse_port; })) {
    return;
  }
  std::set<std::uint32_t> living;
  for (const auto& worker : workers_)
    living.insert(worker.first.slot);
  services_.sockets.trim_slots(spec, model_.memory_without_slots().want.value_or(spec.workers),
                               living);
}

void PoolRunner::apply(const model::Event& event) {
  queue(event);
  if (const auto* stop = std::get_if<model::StopCommand>(&event);
      stop != nullptr && stop->slots.empty() && !stop->when_free) {
    end_lingering();
    cancel_waiting();
  }
  trim_sockets();
}

void PoolRunner::queue(model::Event event) {
  // The model takes the first other event as the sign that all processes have been adopted.
  if (adopting_ && !std::holds_alternative<model::Adopted>(event)) {
    after_adoption_.push_back(std::move(event));
    return;
  }
  pending_.push_back(std::move(event));
  if (!applying_) drain();
}

void PoolRunner::end_adoption() {
  adopting_ = false;
  for (auto& event : std::exchange(after_adoption_, {}))
    queue(std::move(event));
}

// A step becomes true as a whole, events included, before any of it is done: whoever takes over
// after a kill -9 finds either all of it or nothing.
// What is tidied up waits for a turn of the loop, so that a replacement is under way before its
// predecessor's directory is removed.
void PoolRunner::drain() {
  applying_ = true;
  while (!pending_.empty()) {
    const model::Event event = std::move(pending_.front());
    pending_.pop_front();
    const auto actions = model_.step(event, sys::now(), services_.entropy());
    follow_revision(actions);
    for (const auto& action : actions)
      std::visit([this](const auto& each) { prepare(each); }, action);
    if (!std::holds_alternative<model::Adopted>(event)) save(actions);
    for (const auto& action : actions) {
      if (std::holds_alternative<model::ForgetAction>(action)) {
        later_.emplace_back([this, ended = action] { perform(ended); });
      } else {
        perform(action);
      }
    }
  }
  applying_ = false;
  if (!later_.empty()) follow_up_soon();
  watch_for_demand();
}

void PoolRunner::on_backlog(bool waits) {
  has_backlog_ = waits;
  watch_for_demand();
}

// A connection or a task that waits while nobody could take it. As soon as a worker is on its way
// the sockets are the workers' business alone.
void PoolRunner::watch_for_demand() {
  const bool waits = model_.waits_for_demand() && !removing_;
  if (waits && has_backlog_) return queue(model::Demand{});
  if (waits == !demand_.empty()) return;
  demand_.clear();
  if (!waits) return;
  const auto sockets = services_.sockets.of(model_.spec());
  if (!sockets) return;  // said when it was opened
  for (const int fd : sockets->fds) {
    if (fd < 0) continue;
    auto watch = services_.loop.watch(fd, EPOLLIN, sys::Priority::normal,
                                      [this](std::uint32_t) { queue(model::Demand{}); });
    if (watch) {
      demand_.push_back(std::move(*watch));
    } else {
      spdlog::error("pool {}: {}", name(), watch.error().message);
    }
  }
}

// A roll-out that fails leads to another revision; one that is over needs no older one any more.
void PoolRunner::follow_revision(const std::vector<model::Action>& actions) {
  if (model_.revision() != revision_) {
    revision_ = model_.revision();
    went_back_ = true;
    demand_.clear();
    limits_.prepare(model_.spec(), services_.cgroups, services_.no_cgroups_reason);
    change_limits();
  }
  const bool is_over = std::any_of(actions.begin(), actions.end(), [](const model::Action& action) {
    const auto* told = std::get_if<model::PublishAction>(&action);
    return told != nullptr && (told->happening == model::Happening::reloaded ||
                               told->happening == model::Happening::rolled_back);
  });
  if (is_over) later_.emplace_back([this] { forget_unused_revisions(); });
}

void PoolRunner::follow_up_soon() {
  if (std::exchange(will_follow_up_, true)) return;
  services_.loop.post(sys::Priority::normal, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) follow_up();
  });
}

void PoolRunner::follow_up() {
  will_follow_up_ = false;
  for (int i = 0; i < kFollowUps && !later_.empty(); ++i) {
    const auto next = std::move(later_.front());
    later_.pop_front();
    next();
  }
  if (!later_.empty()) follow_up_soon();
  services_.publisher.changed();
}

void PoolRunner::save(const std::vector<model::Action>& actions) {
  for (const std::uint32_t slot : model_.take_touched())
    save_slot(slot);
  for (const auto& action : actions) {
    const auto* told = std::get_if<model::PublishAction>(&action);
    if (told != nullptr && told->exit && told->worker) save_exits(told->worker->slot);
  }
  save_pool();
  services_.publisher.commit();
}

void PoolRunner::leave_gate(WorkerRecord& record) {
  if (!record.in_gate) return;
  record.in_gate = false;
  services_.gate.leave();
}

void PoolRunner::on_entry(const keeper::Entry& entry) {
  const model::WorkerKey key{entry.key.slot, entry.key.incarnation};
  const auto found = workers_.find(key);
  const bool ended =
      entry.state == keeper::EntryState::failed || entry.state == keeper::EntryState::exited;
  if (found == workers_.end()) {
    // Told before, and closed: only the keeper still has to hear so.
    if (!ended) return;
    if (model_.spec().tasks.has_queue()) services_.tasks.forget_socket(entry.key);
    services_.keeper.release(entry.key);
    return;
  }
  auto& record = found->second;
  if (entry.change != 0 && entry.change <= record.change) return;
  record.change = entry.change;
  if (entry.state == keeper::EntryState::failed) {
    if (std::exchange(record.told_end, true)) return;
    leave_gate(record);
    queue(model::SpawnRefused{key, static_cast<int>(entry.stage), entry.error});
    return;
  }
  if (!std::exchange(record.told_spawned, true)) {
    record.pid = entry.pid;
    record.in_cgroup = entry.in_cgroup != 0;
    record.started_realtime_ns =
        sys::realtime_ns() - sys::now().since(Instant::at_ns(entry.started_ns)).count_ns();
    services_.pids[entry.pid] = entry.key;
    queue(model::Spawned{key, entry.pid});
  }
  if (entry.executed != 0 && !std::exchange(record.told_executed, true)) {
    leave_gate(record);
    queue(model::Executed{key});
  }
  if (ended && !std::exchange(record.told_end, true)) on_exit(key, record, entry);
}

void PoolRunner::on_exit(const model::WorkerKey& key, WorkerRecord& record,
                         const keeper::Entry& entry) {
  leave_gate(record);
  services_.prober.cancel(entry.key);
  services_.before_exit();
  auto& exits = exits_[key.slot];
  exits.insert(exits.begin(), {key.incarnation, entry.exited_realtime_ns, entry.user_cpu_us,
                               entry.system_cpu_us, entry.max_rss_kib});
  if (exits.size() > kKeptExits) exits.pop_back();

  model::Exited exited;
  exited.key = key;
  switch (entry.outcome) {
    case keeper::Outcome::none:
    case keeper::Outcome::program:
      exited.kind = model::ReportKind::program;
      break;
    case keeper::Outcome::setup_failed:
      exited.kind = model::ReportKind::setup_failed;
      break;
    case keeper::Outcome::unknown:
      exited.kind = model::ReportKind::unknown;
      break;
  }
  exited.stage = static_cast<int>(entry.stage);
  exited.error = entry.error;
  exited.wait_status = entry.wait_status;
  // Evidence, or nothing: without the memory controller a KILL is just a KILL.
  if (record.in_cgroup && services_.cgroups && WIFSIGNALED(entry.wait_status) &&
      WTERMSIG(entry.wait_status) == SIGKILL) {
    exited.oom = services_.cgroups->oom_kills(cgroup_name(key)).value_or(0) > 0;
  }
  if (model_.spec().cgroup.pids_max != 0)
    refused_forks_ += sys::refused_forks(cgroup_of(key)).value_or(0);
  queue(exited);
}

void PoolRunner::on_spawn_error(const model::WorkerKey& key, int error) {
  const auto found = workers_.find(key);
  if (found == workers_.end() || std::exchange(found->second.told_end, true)) return;
  leave_gate(found->second);
  // It was not taken, for want of a descriptor or of memory: sent again with the next attempt.
  if (error == ENOENT) revision_lost_ = true;
  queue(model::SpawnRefused{key, static_cast<int>(keeper::Stage::clone), error});
}

void PoolRunner::on_notification(const model::WorkerKey& key,
                                 const sys::Notification& notification) {
  const auto found = workers_.find(key);
  if (found == workers_.end()) return;
  if (notification.status && found->second.status_text != *notification.status) {
    found->second.status_text = *notification.status;
    in_state_.erase(key.slot);
    save_slot(key.slot);
    services_.publisher.commit();
  }
  if (notification.extend) {
    const auto usec = static_cast<std::int64_t>(*notification.extend);
    queue(model::NotifiedExtension{key, Duration::nanoseconds(usec * 1000)});
  }
  if (notification.tasks > 0) queue(model::TasksDone{key, notification.tasks});
  if (notification.busy) queue(model::BusyChanged{key, *notification.busy});
  if (notification.ready) queue(model::NotifiedReady{key});
  if (notification.newline) queue(model::NotifiedReady{key, true});
  if (notification.watchdog) {
    const auto usec = static_cast<std::int64_t>(*notification.watchdog);
    queue(model::WatchdogChanged{
        key, usec == 0 ? Duration::infinite() : Duration::nanoseconds(usec * 1000)});
  }
  if (notification.alive) queue(model::NotifiedAlive{key});
  if (notification.stopping) queue(model::NotifiedStopping{key});
  if (notification.trigger) queue(model::NotifiedAlive{key, true});
}

void PoolRunner::on_memory(const model::WorkerKey& key, std::uint64_t bytes) {
  const auto found = workers_.find(key);
  if (found != workers_.end() && !found->second.told_end) queue(model::MemoryUsed{key, bytes});
}

void PoolRunner::on_task_fact(const model::WorkerKey& key, const TaskFact& fact) {
  const auto found = workers_.find(key);
  if (found == workers_.end()) return;
  auto& record = found->second;
  if (std::holds_alternative<broker::Ready>(fact)) {
    queue(model::NotifiedReady{key});
  } else if (std::holds_alternative<broker::Drained>(fact)) {
    if (const auto signal = std::exchange(record.after_drain, std::nullopt))
      signal->first == 0 ? ask_by_command(key) : send_signal(key, signal->first, signal->second);
  } else if (const auto* load = std::get_if<broker::Load>(&fact)) {
    queue(model::BusyChanged{key, load->running > 0});
  } else if (std::holds_alternative<broker::Spent>(fact)) {
    on_spent(key);
  } else if (const auto* condemned = std::get_if<broker::Condemned>(&fact)) {
    condemn(key, condemned->cause);
  }
}

std::optional<sys::BoardQueue> PoolRunner::queue() const {
  if (!model_.spec().tasks.has_queue()) return std::nullopt;
  return services_.tasks.board().look(id_);
}

std::optional<sys::BoardWorker> PoolRunner::tasks_of(const model::WorkerKey& key) const {
  if (!model_.spec().tasks.has_queue()) return std::nullopt;
  return services_.tasks.board().look(broker::WorkerRef{id_, key.slot, key.incarnation});
}

// It has had all the tasks it is to have, or wants to be replaced.
void PoolRunner::on_spent(const model::WorkerKey& key) {
  const auto slot = model_.slot_view(key.slot);
  if (!slot) return;
  for (const auto& process : slot->processes) {
    if (process.key.incarnation != key.incarnation) continue;
    if (process.task_limit > process.tasks) {
      queue(model::TasksDone{key, process.task_limit - process.tasks});
    } else if (process.task_limit == 0) {
      queue(model::NotifiedStopping{key});
    }
  }
}

// The whole tree, at once: it goes on with a task that it was told to give up, or talks nonsense.
void PoolRunner::condemn(const model::WorkerKey& key, broker::KillCause cause) {
  const bool nonsense = cause == broker::KillCause::protocol;
  queue(model::Condemned{
      key, nonsense ? model::ExitCause::task_protocol : model::ExitCause::task_timeout});
}

void PoolRunner::set_stopped_by(std::optional<std::uint32_t> uid) {
  record_.stopped_by = uid ? *uid + 1 : 0;
  is_saved_ = false;
}

std::optional<std::uint32_t> PoolRunner::stopped_by() const {
  if (record_.stopped_by == 0) return std::nullopt;
  return record_.stopped_by - 1;
}

void PoolRunner::set_enabled(std::optional<bool> enabled) {
  enabled_ = enabled;
  save_pool();
  services_.publisher.commit();
}

void PoolRunner::set_removing(bool removing) {
  removing_ = removing;
  save_pool();
}

}  // namespace mtd::supervisor
