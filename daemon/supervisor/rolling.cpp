// Supervisor: the revisions of pools besides those in force. What a roll-out goes back to, and what
// did not come up, outlives the supervisor with the keeper; when a pool has gone back by itself,
// the configuration in force says so.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "common/escape.h"
#include "config/loader.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kMaxConfigurationBytes = 64 << 20;

bool needs_processes(const config::PoolChange& change) {
  return change.apply == config::Apply::rolling || change.apply == config::Apply::restart;
}

}  // namespace

void Supervisor::take_older_specs() {
  for (const auto& [name, held] :
       {std::pair{kHeldPrevious, &held_previous_}, std::pair{kHeldFailed, &held_failed_}}) {
    const UniqueFd file = this->held(name);
    if (!file) continue;
    auto text = sys::read_memfd(file.get(), kMaxConfigurationBytes);
    if (!text) continue;
    older_specs_.add(*text);
    *held = std::move(*text);
  }
  for (const auto& spec : configuration_.pools)
    older_specs_.add(spec);
}

// The state is younger than the configuration where a pool went back by itself and the end came
// before the configuration was put away.
config::PoolSpec Supervisor::spec_in_force(const config::PoolSpec& configured,
                                           const StateStore::Pool& remembered) {
  const std::uint64_t fingerprint = remembered.record.memory.fingerprint;
  if (fingerprint == 0 || fingerprint == configured.spawn_fingerprint) return configured;
  const auto known = older_specs_.find(configured.name, fingerprint);
  if (!known) return configured;
  for (auto& spec : configuration_.pools) {
    if (spec.name == known->name) spec = *known;
  }
  encoded_configuration_.clear();
  files_timer_.arm(sys::now());
  return *known;
}

void Supervisor::hold_pools(const char* name, std::vector<config::PoolSpec> specs,
                            std::string& held) {
  if (specs.empty() && held.empty()) return;
  config::Configuration configuration;
  configuration.pools = std::move(specs);
  std::string text = config::encode(configuration);
  if (text == held) return;
  const auto file = sys::make_sealed_memfd("mtd-older", text);
  if (!file) {
    spdlog::error("{}", file.error().message);
    return;
  }
  keeper_.hold(name, file->get());
  held = std::move(text);
}

// `plan`: what is about to change, so that the way back is there before the way forward is taken.
void Supervisor::hold_older(const config::Plan& plan) {
  std::vector<config::PoolSpec> previous, failed;
  for (const auto& entry : pools_) {
    const auto change = std::find_if(plan.pools.begin(), plan.pools.end(),
                                     [&](const auto& each) { return each.pool == entry.first; });
    const auto& model = entry.second->model();
    if (change != plan.pools.end() && needs_processes(*change)) {
      previous.push_back(*model.fallback_of_change().spec);
    } else if (model.previous()) {
      previous.push_back(*model.previous()->spec);
    }
    if (const auto* spec = model.failed_spec()) failed.push_back(*spec);
  }
  hold_pools(kHeldPrevious, std::move(previous), held_previous_);
  hold_pools(kHeldFailed, std::move(failed), held_failed_);
}

// A pool that went back to an older revision has changed the configuration in force.
void Supervisor::follow_pools() {
  bool any = false;
  for (const auto& [name, pool] : pools_) {
    if (!pool->take_went_back() || pool->removing()) continue;
    for (auto& spec : configuration_.pools) {
      if (spec.name == name) spec = pool->model().spec();
    }
    any = true;
  }
  if (!any) return;
  for (const auto& problem : sockets_.open(configuration_))
    spdlog::error("{}", escape_for_terminal(problem));
  for (const auto& problem : sockets_.commit(configuration_))
    spdlog::error("{}", escape_for_terminal(problem));
  ++config_revision_;
  encoded_configuration_.clear();
  hold_older({});
  hold_configuration();
  files_timer_.arm(sys::now());  // they say what did not come up
}

ReloadOutcome Supervisor::undo(PoolRunner& pool) {
  config::Configuration wanted = configuration_;
  for (auto& spec : wanted.pools) {
    if (spec.name == pool.name()) spec = *pool.model().previous()->spec;
  }
  ReloadOutcome outcome = apply_configuration(std::move(wanted), false);
  files_timer_.arm(sys::now());
  dirty_ = true;
  return outcome;
}

// The files do not say any more what did not come up.
void Supervisor::forget_failed_revisions(const std::string& pool, const ReloadOutcome& outcome) {
  for (const auto& change : outcome.plan.pools) {
    PoolRunner* runner = find(change.pool);
    if (runner == nullptr || needs_processes(change) || (!pool.empty() && change.pool != pool))
      continue;
    if (runner->model().failed_spec() == nullptr) continue;
    runner->apply(model::RolloutCommand{model::RolloutOrder::forget});
  }
}

// reload.mode signal: pools whose processes stay are told to look at their own configuration.
void Supervisor::signal_for_reload(const std::string& pool, ReloadOutcome& outcome) {
  for (const auto& change : outcome.plan.pools) {
    PoolRunner* runner = find(change.pool);
    const bool stays =
        change.apply == config::Apply::unchanged || change.apply == config::Apply::hot;
    if (runner == nullptr || !stays || (!pool.empty() && change.pool != pool)) continue;
    const auto& reload = runner->model().spec().reload;
    if (reload.mode != config::ReloadMode::signal) continue;
    std::vector<model::WorkerKey> keys;
    for (const auto& worker : runner->workers()) {
      if (runner->model().stage_of(worker.first) == model::Stage::running)
        keys.push_back(worker.first);
    }
    outcome.signalled[change.pool] =
        runner->signal(keys, reload.signal.value, config::StopScope::process);
  }
}

}  // namespace mtd::supervisor
