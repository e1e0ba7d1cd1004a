// The half of PoolRunner that performs the model's actions.
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "common/escape.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/prober.h"
#include "daemon/supervisor/tree_scanner.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/pids_limit.h"
#include "daemon/sys/proc.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kMaxLeftOvers = 32;
constexpr std::uint32_t kMaxSetupMs = 600'000;

std::uint32_t setup_timeout_ms(const config::PoolSpec& spec) {
  const std::int64_t ms =
      spec.start_timeout.is_infinite() ? kMaxSetupMs : spec.start_timeout.count_ms();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ms, 1, kMaxSetupMs));
}

// A stopped process acts on none of these until it goes on.
bool needs_continue(int signal) {
  return signal != SIGKILL && signal != SIGSTOP && signal != SIGTSTP && signal != SIGCONT;
}

}  // namespace

void PoolRunner::perform(const model::SpawnAction& action) {
  const bool is_known = keeper_revisions_.count(action.revision) != 0;
  if (action.revision == revision_ && (std::exchange(revision_lost_, false) || !is_known)) {
    const auto uploaded = upload();
    if (!uploaded) spdlog::error("{}", escape_for_terminal(uploaded.error().message));
  }
  auto& record = workers_[action.key];
  record.keeper_revision = keeper_revisions_[action.revision].id;
  services_.gate.enter(keeper_key(action.key), [this, action] { send_spawn(action); });
}

void PoolRunner::perform(const model::ClaimAction&) {
  queue(services_.grant(*this));
}

// Told later: the gate may be working through many of these.
void PoolRunner::refuse_later(const model::WorkerKey& key, keeper::Stage stage, int error) {
  services_.loop.post(sys::Priority::keeper,
                      [this, key, stage, error, alive = std::weak_ptr(alive_)] {
                        const auto found = alive.expired() ? workers_.end() : workers_.find(key);
                        if (alive.expired() || found == workers_.end()) return;
                        found->second.told_end = true;
                        leave_gate(found->second);
                        queue(model::SpawnRefused{key, static_cast<int>(stage), error});
                      });
}

void PoolRunner::send_spawn(const model::SpawnAction& action) {
  auto& record = workers_[action.key];
  record.in_gate = true;
  const auto sockets = services_.sockets.of_slot(model_.spec(), action.key.slot);
  if (!sockets) {
    refuse_later(action.key, keeper::Stage::descriptors, sockets.error().errno_value);
    return;
  }
  std::vector<int> own = *sockets;
  UniqueFd task_socket;
  if (model_.spec().tasks.has_queue()) {
    auto made = services_.tasks.make_socket(keeper_key(action.key), action.task_limit);
    if (!made) {
      refuse_later(action.key, keeper::Stage::descriptors, made.error().errno_value);
      return;
    }
    task_socket = std::move(*made);
    own.push_back(task_socket.get());
  }
  UniqueFd directory;
  if (services_.cgroups) {
    auto made = services_.cgroups->make(cgroup_name(action.key));
    if (!made) {
      refuse_later(action.key, keeper::Stage::cgroup, made.error().errno_value);
      return;
    }
    directory = std::move(*made);
    record.has_directory = true;
  }
  if (const int error = services_.cgroups
                            ? limits_.apply(cgroup_name(action.key), *services_.cgroups)
                            : limits_.refuse_without_cgroups();
      error != 0) {
    refuse_later(action.key, keeper::Stage::cgroup_limits, error);
    return;
  }
  const WorkerLabel label{name(), keeper_revisions_[action.revision].fingerprint, action.task_limit,
                          action.revision};
  const auto serial = services_.keeper.spawn(keeper_key(action.key), record.keeper_revision,
                                             encode(label), setup_timeout_ms(model_.spec()),
                                             directory ? directory.get() : -1, own);
  services_.spawns[serial] = keeper_key(action.key);
}

void PoolRunner::send_signal(const model::WorkerKey& key, int signal, config::StopScope scope) {
  const auto found = workers_.find(key);
  if (found == workers_.end()) return;
  const auto& record = found->second;
  const bool by_cgroup = record.in_cgroup && services_.cgroups;
  const bool tree = scope == config::StopScope::tree && by_cgroup;
  const bool group =
      scope == config::StopScope::group || (scope == config::StopScope::tree && !by_cgroup);
  const auto whom = group ? keeper::Scope::group : keeper::Scope::process;
  const bool both = needs_continue(signal);
  if (!record.told_end) {
    services_.keeper.signal(keeper_key(key), signal, whom);
    if (both) services_.keeper.signal(keeper_key(key), SIGCONT, whom);
  }
  if (!tree) return;
  // The main processes of all workers come first: looking for the others takes longer.
  later_.emplace_back([this, key, signal, both, pid = record.pid] {
    const auto name = cgroup_name(key);
    if (both) {
      services_.cgroups->signal(name, {signal, SIGCONT}, pid);
    } else {
      services_.cgroups->signal(name, {signal}, pid);
    }
  });
}

void PoolRunner::perform(const model::SignalAction& action) {
  if (services_.gate.cancel(keeper_key(action.key))) {
    queue(model::SpawnRefused{action.key, static_cast<int>(keeper::Stage::clone), ECANCELED});
    return;
  }
  if (action.signal == SIGKILL && action.scope == config::StopScope::tree) {
    perform(model::KillTreeAction{action.key});
    return;
  }
  if (finishes_first(action.key, action.signal, action.scope)) return;
  send_signal(action.key, action.signal, action.scope);
}

// A worker that has a task gets the first stop signal once it has none. How long that may take is
// the model's: its deadline stands already.
bool PoolRunner::finishes_first(const model::WorkerKey& key, int signal, config::StopScope scope) {
  const auto found = workers_.find(key);
  if (found == workers_.end() || found->second.told_end) return false;
  if (found->second.after_drain) {  // the next step: it had its time
    found->second.after_drain.reset();
    return false;
  }
  if (!services_.tasks.drain(keeper_key(key), model_.spec().stop.timeout)) return false;
  found->second.after_drain = {signal, scope};
  return true;
}

void PoolRunner::perform(const model::KillTreeAction& action) {
  if (services_.gate.cancel(keeper_key(action.key))) {
    queue(model::SpawnRefused{action.key, static_cast<int>(keeper::Stage::clone), ECANCELED});
    return;
  }
  const auto found = workers_.find(action.key);
  if (found == workers_.end()) return;
  auto& record = found->second;
  // Whoever is still there beside the main process has outlived what it was asked.
  const auto name_all_but_main = [this, pid = record.pid](const std::vector<LeftOver>& living) {
    std::vector<LeftOver> left;
    for (const auto& process : living) {
      if (process.pid != pid) left.push_back(process);
    }
    note_left_overs(left);
  };
  const bool by_cgroup = record.in_cgroup && services_.cgroups;
  if (by_cgroup && is_vacant(action.key, record)) return;
  if (by_cgroup && !tallies_.empty()) name_all_but_main(left_overs_of(action.key));
  if (!record.told_end) {
    services_.keeper.signal(keeper_key(action.key), SIGKILL, keeper::Scope::group);
  }
  if (by_cgroup) {
    (void)services_.cgroups->kill(cgroup_name(action.key)).has_value();
  } else if (record.told_spawned) {
    services_.scanner.kill(
        tag_of(services_.hello.instance, name(), action.key.slot, action.key.incarnation),
        [name_all_but_main](const std::vector<ScannedProcess>& killed) {
          std::vector<LeftOver> met;
          for (const auto& process : killed)
            met.push_back({process.pid, process.comm});
          name_all_but_main(met);
        });
  }
}

void PoolRunner::perform(const model::WatchTreeAction& action) {
  const auto found = workers_.find(action.key);
  if (found == workers_.end()) {
    queue(model::TreeEmpty{action.key});
    return;
  }
  if (found->second.in_cgroup && services_.cgroups) {
    check_cgroup(action.key);
    return;
  }
  services_.scanner.watch(
      tag_of(services_.hello.instance, name(), action.key.slot, action.key.incarnation),
      [this, key = action.key](const std::vector<ScannedProcess>& living) {
        std::vector<LeftOver> left;
        for (const auto& process : living)
          left.push_back({process.pid, process.comm});
        on_tree(key, left);
      });
}

// The common case after an exit: nobody to kill, and nothing to wait for.
bool PoolRunner::is_vacant(const model::WorkerKey& key, WorkerRecord& record) {
  if (record.told_end && !record.tree_empty)
    record.tree_empty = !services_.cgroups->populated(cgroup_name(key)).value_or(true);
  return record.tree_empty;
}

void PoolRunner::check_cgroup(const model::WorkerKey& key) {
  const auto found = workers_.find(key);
  if (found == workers_.end() || !services_.cgroups) return;
  auto& record = found->second;
  if (record.tree_empty) {
    queue(model::TreeEmpty{key});
    return;
  }
  // The order matters: a change between opening and reading is reported by the watch.
  if (!record.tree_events) record.tree_events = services_.cgroups->watch(cgroup_name(key));
  if (!record.tree_events || !sys::CgroupTree::populated_fd(record.tree_events.get())) {
    record.tree_watch = {};
    record.tree_events.reset();
    queue(model::TreeEmpty{key});
    return;
  }
  if (record.tree_watch) return;
  auto watch = services_.loop.watch(record.tree_events.get(), EPOLLPRI, sys::Priority::normal,
                                    [this, key](std::uint32_t) { check_cgroup(key); });
  if (watch) record.tree_watch = std::move(*watch);
}

void PoolRunner::on_tree(const model::WorkerKey& key, const std::vector<LeftOver>& living) {
  if (living.empty()) queue(model::TreeEmpty{key});
}

std::vector<LeftOver> PoolRunner::left_overs_of(const model::WorkerKey& key) const {
  std::vector<LeftOver> living;
  for (const int pid : pids_of(key)) {
    if (living.size() >= kMaxLeftOvers) break;
    living.push_back({pid, sys::comm_of(pid)});
  }
  return living;
}

void PoolRunner::note_left_overs(const std::vector<LeftOver>& living) {
  for (const auto& weak : tallies_) {
    const auto tally = weak.lock();
    if (!tally) continue;
    for (const auto& process : living) {
      const bool known =
          std::any_of(tally->left_overs.begin(), tally->left_overs.end(),
                      [&](const LeftOver& other) { return other.pid == process.pid; });
      if (!known && tally->left_overs.size() < kMaxLeftOvers) tally->left_overs.push_back(process);
    }
  }
}

void PoolRunner::prepare(const model::ForgetAction& action) {
  services_.state.forget_process(id_, action.key.slot, action.key.incarnation);
}

void PoolRunner::perform(const model::ForgetAction& action) {
  const auto found = workers_.find(action.key);
  if (found == workers_.end()) return;
  auto& record = found->second;
  record.tree_watch = {};
  record.tree_events.reset();
  if (record.has_directory) remove_cgroup(action.key);
  if (!record.in_cgroup && record.told_spawned) {
    services_.scanner.forget(
        tag_of(services_.hello.instance, name(), action.key.slot, action.key.incarnation));
  }
  leave_gate(record);
  const auto pid = services_.pids.find(record.pid);
  if (pid != services_.pids.end() && pid->second == keeper_key(action.key))
    services_.pids.erase(pid);
  if (!services_.tasks.release_later(keeper_key(action.key)))
    services_.keeper.release(keeper_key(action.key));
  const bool of_older = !is_current(found->second);
  workers_.erase(found);
  if (of_older) forget_unused_revisions();
  trim_sockets();
}

void PoolRunner::remove_cgroup(const model::WorkerKey& key) {
  if (!services_.cgroups) return;
  const auto removed = services_.cgroups->remove(cgroup_name(key));
  if (!removed && removed.error().errno_value == EBUSY) linger(key);
}

void PoolRunner::linger(const model::WorkerKey& key) {
  auto& lingering = lingering_[key];
  if (!lingering.events) lingering.events = services_.cgroups->watch(cgroup_name(key));
  if (!lingering.events || !sys::CgroupTree::populated_fd(lingering.events.get())) {
    (void)services_.cgroups->remove(cgroup_name(key)).has_value();
    lingering_.erase(key);
    services_.publisher.changed();
    return;
  }
  if (lingering.watch) return;
  auto watch = services_.loop.watch(lingering.events.get(), EPOLLPRI, sys::Priority::normal,
                                    [this, key](std::uint32_t) { linger(key); });
  if (watch) lingering.watch = std::move(*watch);
}

void PoolRunner::end_lingering() {
  for (const auto& entry : lingering_)
    (void)services_.cgroups->kill(cgroup_name(entry.first)).has_value();
}

// Thawed before it is true, frozen after: one that was not to be is made good by the next life.
void PoolRunner::prepare(const model::FreezeAction& action) {
  if (!action.frozen) set_frozen(action);
}

void PoolRunner::perform(const model::FreezeAction& action) {
  if (action.frozen) set_frozen(action);
}

void PoolRunner::set_frozen(const model::FreezeAction& action) {
  const auto found = workers_.find(action.key);
  if (found == workers_.end()) return;
  if (found->second.in_cgroup && services_.cgroups) {
    (void)services_.cgroups->freeze(cgroup_name(action.key), action.frozen).has_value();
  } else {
    services_.keeper.signal(keeper_key(action.key), action.frozen ? SIGSTOP : SIGCONT,
                            keeper::Scope::group);
  }
}

void PoolRunner::perform(const model::ProbeAction& action) {
  const auto found = workers_.find(action.key);
  if (found == workers_.end() || found->second.told_end) return;
  services_.prober.ask(
      model_, {keeper_key(action.key), found->second.pid, action.role},
      [this, action](const sys::ProbeAnswer& answer) { on_probe(action, answer); });
}

void PoolRunner::on_probe(const model::ProbeAction& action, const sys::ProbeAnswer& answer) {
  using Kind = sys::ProbeAnswer::Kind;
  const auto found = workers_.find(action.key);
  if (found == workers_.end() || found->second.told_end) return;
  std::string& text = found->second.probe_texts[static_cast<std::size_t>(action.role)];
  const std::string news = answer.kind == Kind::passed ? std::string() : answer.text;
  if (!news.empty() && news != text) {
    const bool live = action.role == model::ProbeRole::live;
    spdlog::info("{}/{} pid {}: {} probe {}: {}", name(), action.key.slot, found->second.pid,
                 live ? "live" : "ready",
                 answer.kind == Kind::unknown ? "could not be made" : "failed",
                 escape_for_terminal(news));
  }
  text = news;
  model::Probed probed;
  probed.key = action.key;
  probed.role = action.role;
  probed.outcome = answer.kind == Kind::passed   ? model::ProbeOutcome::passed
                   : answer.kind == Kind::failed ? model::ProbeOutcome::failed
                                                 : model::ProbeOutcome::unknown;
  queue(probed);
}

void PoolRunner::prepare(const model::PublishAction& action) {
  if (action.exit && action.worker) {
    services_.tasks.ended(keeper_key(*action.worker), *action.exit);
    const bool killed =
        WIFSIGNALED(action.exit->wait_status) && WTERMSIG(action.exit->wait_status) == SIGKILL;
    tallies_.erase(std::remove_if(tallies_.begin(), tallies_.end(),
                                  [](const auto& tally) { return tally.expired(); }),
                   tallies_.end());
    for (const auto& weak : tallies_) {
      const auto tally = weak.lock();
      if (!tally) continue;
      if (action.happening == model::Happening::exited) ++(killed ? tally->killed : tally->exited);
      if (!action.exit->planned) ++tally->unplanned;
    }
  }
  services_.publisher.publish(*this, action);
}

std::size_t PoolRunner::signal(const std::vector<model::WorkerKey>& keys, int signal,
                               config::StopScope whom) {
  std::size_t sent = 0;
  for (const auto& key : keys) {
    const auto found = workers_.find(key);
    if (found == workers_.end() || !found->second.told_spawned || found->second.told_end) continue;
    const auto& record = found->second;
    const bool by_cgroup = record.in_cgroup && services_.cgroups;
    const bool group =
        whom == config::StopScope::group || (whom == config::StopScope::tree && !by_cgroup);
    services_.keeper.signal(keeper_key(key), signal,
                            group ? keeper::Scope::group : keeper::Scope::process);
    if (whom == config::StopScope::tree && by_cgroup) {
      services_.cgroups->signal(cgroup_name(key), {signal}, record.pid);
    }
    ++sent;
  }
  return sent;
}

std::vector<int> PoolRunner::pids_of(const model::WorkerKey& key) const {
  const auto found = workers_.find(key);
  if (found == workers_.end()) return {};
  if (found->second.in_cgroup && services_.cgroups)
    return services_.cgroups->pids(cgroup_name(key));
  if (found->second.pid > 0 && !found->second.told_end) return {found->second.pid};
  return {};
}

std::uint64_t PoolRunner::strays() const {
  std::uint64_t strays = 0;
  for (const auto& entry : lingering_)
    strays += services_.cgroups->pids(cgroup_name(entry.first)).size();
  return strays;
}

std::uint64_t PoolRunner::refused_forks() const {
  std::uint64_t refused = refused_forks_;
  if (model_.spec().cgroup.pids_max == 0) return refused;
  constexpr std::size_t kMostRead = 256;
  std::size_t read = 0;
  for (const auto& [key, record] : workers_) {
    if (record.told_end) continue;
    if (++read > kMostRead) break;
    refused += sys::refused_forks(cgroup_of(key)).value_or(0);
  }
  return refused;
}

std::string PoolRunner::cgroup_of(const model::WorkerKey& key) const {
  const auto found = workers_.find(key);
  if (found == workers_.end() || !found->second.in_cgroup || !services_.cgroups) return {};
  return services_.cgroups->path(cgroup_name(key));
}

}  // namespace mtd::supervisor
