// Supervisor: another configuration takes the place of the one in force. All or nothing: what
// cannot be applied as a whole changes nothing.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/escape.h"
#include "config/loader.h"
#include "config/order.h"
#include "daemon/role/log.h"
#include "daemon/supervisor/control_access.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/pids_limit.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

const config::PoolSpec* find_spec(const config::Configuration& configuration,
                                  const std::string& pool) {
  for (const auto& spec : configuration.pools) {
    if (spec.name == pool) return &spec;
  }
  return nullptr;
}

// `current` with the one pool as `wanted` has it (or without it).
config::Configuration only_pool(const config::Configuration& current,
                                const config::Configuration& wanted, const std::string& pool) {
  config::Configuration merged = current;
  auto& pools = merged.pools;
  pools.erase(std::remove_if(pools.begin(), pools.end(),
                             [&](const config::PoolSpec& spec) { return spec.name == pool; }),
              pools.end());
  if (const auto* spec = find_spec(wanted, pool)) pools.push_back(*spec);
  std::sort(pools.begin(), pools.end(),
            [](const config::PoolSpec& a, const config::PoolSpec& b) { return a.name < b.name; });
  return merged;
}

std::uint64_t socket_count(const config::Configuration& configuration) {
  std::uint64_t count = 0;
  for (const auto& spec : configuration.pools) {
    for (const auto& socket : spec.listen)
      count += socket.reuse_port ? std::max(spec.workers, 1U) : 1;
  }
  return count;
}

bool differs(const config::Configuration& current, const config::Configuration& wanted) {
  const auto plan = config::make_plan(current, wanted);
  return !plan.daemon_keys.empty() || !plan.daemon_restart_keys.empty() ||
         std::any_of(plan.pools.begin(), plan.pools.end(), [](const config::PoolChange& change) {
           return change.apply != config::Apply::unchanged;
         });
}

}  // namespace

std::uint32_t Supervisor::capacity() const {
  const std::uint32_t configured = configuration_.daemon.max_processes;
  return configured == 0 ? hello_.capacity : std::min(configured, hello_.capacity);
}

std::uint64_t Supervisor::wanted_processes() const {
  std::uint64_t wanted = 0;
  for (const auto& entry : pools_)
    wanted += entry.second->model().share().has;
  return wanted;
}

std::string Supervisor::check_capacity(const config::Configuration& wanted) const {
  std::uint64_t workers = 0;
  for (const auto& spec : wanted.pools)
    workers += spec.workers;
  if (wanted.daemon.max_processes != 0 && workers > wanted.daemon.max_processes) {
    return "the pools have " + std::to_string(workers) + " workers, but limits.processes allows " +
           std::to_string(wanted.daemon.max_processes);
  }
  if (const auto pids = sys::least_pids_limit(); pids && workers > pids->most) {
    return "the pools have " + std::to_string(workers) + " workers, but pids.max of " +
           escape_for_terminal(pids->directory) + " (TasksMax= of its unit) allows " +
           std::to_string(pids->most) + " processes";
  }
  std::uint64_t task_workers = 0, most_task_workers = 0;
  for (const auto& spec : wanted.pools) {
    if (!spec.tasks.has_queue()) continue;
    task_workers += spec.workers;
    most_task_workers += spec.most_workers();
  }
  if (most_task_workers > config::kMaxTaskWorkers) {
    return "the pools with tasks may have " + std::to_string(most_task_workers) +
           " workers; at most " + std::to_string(config::kMaxTaskWorkers) + " are possible";
  }
  const std::uint64_t sockets = socket_count(wanted);
  if (sockets > kMaxSockets) {
    return "the pools listen on " + std::to_string(sockets) +
           " sockets (with reuse_port one for each worker); at most " +
           std::to_string(kMaxSockets) + " are possible";
  }
  // Held once, and once in each of the two revisions that a roll-out has.
  constexpr std::uint64_t kCopies = 3;
  const std::uint64_t needed = workers + kCopies * sockets + task_workers;
  if (needed <= hello_.capacity) return {};
  std::string what;
  if (task_workers != 0) what += ", " + std::to_string(task_workers) + " of them with tasks,";
  if (sockets != 0) what += " and " + std::to_string(sockets) + " sockets,";
  if (!what.empty()) what += " which need " + std::to_string(needed) + " descriptors";
  return "the pools have " + std::to_string(workers) + " workers" + what +
         ", but there is room for " + std::to_string(hello_.capacity) +
         " (RLIMIT_NOFILE of mtd; LimitNOFILE= in a unit)";
}

void Supervisor::reload(const std::string& pool, ReloadDone done) {
  if (reloading_) {
    // The files may have changed after the running look at them: one more look serves all who ask
    // now.
    if (!reload_next_.empty() && reload_next_pool_ != pool) reload_next_pool_.clear();
    if (reload_next_.empty()) reload_next_pool_ = pool;
    reload_next_.push_back(std::move(done));
    return;
  }
  reload_pool_ = pool;
  reload_done_.push_back(std::move(done));
  start_reload();
}

void Supervisor::start_reload() {
  reloading_ = true;
  tell_manager("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(sys::now().count_ns() / 1000));
  auto loader = start_loader(loop_, options_.config, {},
                             [this](LoadAnswer answer) { finish_reload(std::move(answer)); });
  if (!loader) {
    loop_.post(sys::Priority::normal, [this, message = loader.error().message] {
      LoadAnswer failed;
      failed.errors.push_back(message);
      finish_reload(std::move(failed));
    });
    return;
  }
  loader_ = std::move(*loader);
}

void Supervisor::finish_reload(LoadAnswer answer) {
  ReloadOutcome outcome;
  outcome.errors = answer.errors;
  if (outcome.errors.empty() && stopping_) outcome.errors.push_back("mtd is stopping");
  // The caller's mistake, not one of the files.
  const bool no_such_pool = outcome.errors.empty() && !reload_pool_.empty() &&
                            find_spec(configuration_, reload_pool_) == nullptr &&
                            find_spec(answer.configuration, reload_pool_) == nullptr;
  if (no_such_pool) {
    outcome.errors.push_back("neither the files nor the configuration in force have a pool " +
                             reload_pool_);
  }
  if (outcome.errors.empty()) {
    outcome = apply_configuration(
        reload_pool_.empty() ? answer.configuration
                             : only_pool(configuration_, answer.configuration, reload_pool_),
        true);
  }
  if (outcome.errors.empty()) {
    forget_failed_revisions(reload_pool_, outcome);
    signal_for_reload(reload_pool_, outcome);
  }
  files_differ_ =
      (!outcome.errors.empty() && !no_such_pool) || differs(configuration_, answer.configuration);
  watch_configuration();
  config_error_.clear();
  for (const auto& error : outcome.errors) {
    if (!no_such_pool) config_error_ += (config_error_.empty() ? "" : "; ") + error;
    spdlog::error("reload: {}", escape_for_terminal(error));
  }
  if (!outcome.errors.empty()) spdlog::error("reload: nothing was changed");
  tell_manager("READY=1");
  reloading_ = false;
  for (const auto& done : std::exchange(reload_done_, {}))
    done(outcome);
  dirty_ = true;
  if (reload_next_.empty()) return;
  reload_done_ = std::exchange(reload_next_, {});
  reload_pool_ = std::exchange(reload_next_pool_, {});
  start_reload();
}

ReloadOutcome Supervisor::apply_configuration(config::Configuration wanted, bool rebind) {
  ReloadOutcome outcome;
  const std::string too_many = check_capacity(wanted);
  if (!too_many.empty()) outcome.errors.push_back(too_many);
  for (const auto& problem : config::check_order(wanted.pools))
    outcome.errors.push_back("pool " + problem.pool + ": depends_on: " + problem.message);
  outcome.plan = config::make_plan(configuration_, wanted);
  if (outcome.errors.empty()) outcome.errors = sockets_.open(wanted);
  if (!outcome.errors.empty()) return outcome;
  for (const auto& change : outcome.plan.pools) {
    if (change.apply == config::Apply::unchanged || change.apply == config::Apply::remove) continue;
    const auto& spec = *find_spec(wanted, change.pool);
    const auto sockets = sockets_.of(spec);
    const auto prepared = sockets ? prepare_revision(spec, services_->revision_facts, *sockets)
                                  : Result<PreparedRevision>(sockets.error());
    if (!prepared) outcome.errors.push_back(prepared.error().message);
  }
  if (!outcome.errors.empty()) {
    sockets_.abandon();
    return outcome;
  }
  for (const auto& problem : sockets_.commit(wanted))
    spdlog::error("{}", problem);
  hold_older(outcome.plan);

  // The broker hears of a queue before it gets the socket of a worker of it.
  std::vector<PoolRunner*> added;
  for (const auto& change : outcome.plan.pools) {
    if (change.apply != config::Apply::add) continue;
    const config::PoolSpec* spec = find_spec(wanted, change.pool);
    if (PoolRunner* pool = find(change.pool)) {
      pool->successor = *spec;  // the one of that name is still ending
    } else {
      added.push_back(add_pool(*spec));
    }
  }
  tasks_->configure(wanted);
  for (PoolRunner* pool : added)
    pool->apply(model::Tick{});

  bool any = !outcome.plan.daemon_keys.empty();
  for (const auto& change : outcome.plan.pools) {
    PoolRunner* pool = find(change.pool);
    const config::PoolSpec* spec = find_spec(wanted, change.pool);
    any = any || change.apply != config::Apply::unchanged;
    switch (change.apply) {
      case config::Apply::unchanged:
      case config::Apply::add:
        break;
      case config::Apply::remove:
        pool->set_removing(true);
        pool->successor.reset();
        pool->apply(model::StopCommand{{}, model::StopManner::gently, is_needed(*pool)});
        break;
      case config::Apply::hot:
      case config::Apply::rolling:
      case config::Apply::restart:
        if (pool->removing()) {
          pool->successor = *spec;
        } else {
          const auto done = pool->reconfigure(*spec);
          if (!done)
            spdlog::error("pool {}: {}", change.pool, escape_for_terminal(done.error().message));
        }
        break;
    }
  }
  configuration_ = std::move(wanted);
  if (any) ++config_revision_;
  encoded_configuration_.clear();
  hold_older({});
  hold_configuration();
  apply_daemon_settings();
  for (const auto& key : outcome.plan.daemon_restart_keys) {
    spdlog::warn("reload: {} changes with the next start of mtd only", key);
  }
  for (const auto& warning : configuration_.warnings)
    spdlog::warn("{}", escape_for_terminal(warning));
  if (rebind) look_after_names();
  spdlog::log(any ? spdlog::level::info : spdlog::level::debug,
              "reload: configuration revision {} is in force", config_revision_);
  return outcome;
}

void Supervisor::compare_files() {
  if (!serving_ || reloading_) {
    files_timer_.arm(sys::now() + kCompareDelay);
    return;
  }
  if (stopping_) return;
  auto loader = start_loader(loop_, options_.config, {}, [this](const LoadAnswer& answer) {
    if (reloading_) return;  // it says so itself
    files_differ_ = !answer.errors.empty() || differs(configuration_, answer.configuration);
    if (!files_differ_) config_error_.clear();
    watch_configuration();
  });
  if (loader) {
    comparer_ = std::move(*loader);
  } else {
    files_differ_ = true;
  }
}

void Supervisor::hold_configuration() {
  commit();
  if (encoded_configuration_.empty()) encoded_configuration_ = config::encode(configuration_);
  const auto file = sys::make_sealed_memfd("mtd-config", encoded_configuration_);
  if (file) {
    keeper_.hold("config", file->get());
  } else {
    spdlog::error("{}", file.error().message);
  }
  encoded_configuration_ = {};
}

void Supervisor::apply_daemon_settings() {
  const auto& daemon = configuration_.daemon;
  if (options_.log_level.empty()) role::set_log_level(daemon.log_level);
  gate_.set_limit(daemon.start_concurrency);
  server_->set_policy(access_of(daemon, sys::own_uid()));
  ControlLimits limits;
  limits.clients = daemon.max_clients;
  server_->set_limits(limits);
}

}  // namespace mtd::supervisor
