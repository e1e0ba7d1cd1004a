// Supervisor: order between pools. model/order.h decides; here its facts are gathered, its steps
// are taken, and people are told what is waited for.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "common/exit_codes.h"
#include "config/order.h"
#include "daemon/supervisor/model/order.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {
namespace {

using model::PoolState;

bool is_down(PoolState state) {
  switch (state) {
    case PoolState::stopping:
    case PoolState::stopped:
    case PoolState::draining:
    case PoolState::failed:
      return true;
    case PoolState::running:
    case PoolState::starting:
    case PoolState::degraded:
    case PoolState::backoff:
    case PoolState::rolling:
    case PoolState::completed:
    case PoolState::frozen:
      return false;
  }
  return false;
}

model::PoolFacts facts_of(const PoolRunner& pool) {
  const auto view = pool.model().summary(sys::now());
  model::PoolFacts facts;
  facts.name = pool.name();
  facts.depends_on = pool.model().spec().depends_on;
  const bool stopped = view.state == PoolState::stopped || view.state == PoolState::stopping ||
                       view.state == PoolState::draining;
  facts.held_back = view.held_back;
  facts.wanted = !pool.removing() && !pool.model().is_stopped();
  facts.stop_due = view.stop_due;
  facts.gone = view.alive <= view.stuck && (view.alive > 0 || pool.is_empty());
  facts.completed = view.state == PoolState::completed;
  facts.started = !stopped && view.programs_run;
  facts.ready = !stopped && view.ready >= view.want;
  facts.down = pool.removing() || is_down(view.state) ||
               (view.state == PoolState::backoff && view.breaker_open);
  return facts;
}

std::string_view name_of(config::DependencyState state) {
  switch (state) {
    case config::DependencyState::started:
      return "started";
    case config::DependencyState::ready:
      return "ready";
    case config::DependencyState::completed:
      return "completed";
  }
  return "ready";
}

}  // namespace

bool Supervisor::is_needed(const PoolRunner& pool) const {
  return std::any_of(pools_.begin(), pools_.end(), [&](const auto& entry) {
    const auto& needs = entry.second->model().spec().depends_on;
    return !entry.second->model().is_empty() &&
           std::any_of(needs.begin(), needs.end(),
                       [&](const auto& each) { return each.pool == pool.name(); });
  });
}

// "db to be ready (it is failed)", for each that is missing.
std::string Supervisor::order_text(const std::vector<config::Dependency>& dependencies,
                                   bool waits) const {
  std::string text;
  for (const auto& dependency : dependencies) {
    const auto found = pools_.find(dependency.pool);
    const PoolState state = found == pools_.end()
                                ? PoolState::stopped
                                : found->second->model().summary(sys::now()).state;
    if (!text.empty()) text += ", ";
    text += dependency.pool;
    if (waits) text += " to be " + std::string(name_of(dependency.until));
    if (!waits || is_down(state))
      text +=
          (waits ? " (it is " : " is ") + std::string(model::name_of(state)) + (waits ? ")" : "");
  }
  return text;
}

// After each turn in which something happened. Nothing is looked at where no pool depends on
// another.
void Supervisor::order_pools() {
  const auto matters = [](const auto& entry) {
    const auto& model = entry.second->model();
    return !model.spec().depends_on.empty() || model.is_ordered();
  };
  if (!serving_ || std::none_of(pools_.begin(), pools_.end(), matters)) return;
  std::vector<model::PoolFacts> facts;
  // A step may make another one possible; each pool takes two at most: hold back, then stop.
  for (std::size_t round = 0; round <= 2 * pools_.size(); ++round) {
    facts.clear();
    for (const auto& entry : pools_)
      facts.push_back(facts_of(*entry.second));
    const auto steps = model::order_steps(facts);
    if (steps.empty()) break;
    for (const auto& step : steps)
      take(step);
  }
  for (const auto& pool : facts) {
    const auto missing = pool.wanted && pool.held_back ? model::unmet(pool, facts)
                                                       : std::vector<config::Dependency>();
    const auto lost = pool.wanted && !pool.held_back ? model::lost(pool, facts)
                                                     : std::vector<config::Dependency>();
    const std::string note = !missing.empty() ? "waits for " + order_text(missing, true)
                             : !lost.empty()  ? order_text(lost, false)
                                              : std::string();
    PoolRunner* runner = find(pool.name);
    if (runner == nullptr) continue;
    if (!lost.empty() && runner->order_note() != note) {
      spdlog::warn("pool {}: {}, which it depends on; it goes on", pool.name, note);
      publish_own("dependency_lost", note, pool.name);
    }
    runner->set_order_note(pool.stop_due ? "stops when nothing needs it any more" : note);
  }
}

void Supervisor::take(const model::OrderStep& step) {
  PoolRunner* pool = find(step.pool);
  if (pool == nullptr) return;
  switch (step.what) {
    case model::OrderStep::What::hold_back:
      pool->apply(model::HoldBackCommand{true});
      return;
    case model::OrderStep::What::admit:
      pool->apply(model::HoldBackCommand{false});
      return;
    case model::OrderStep::What::stop:
      pool->apply(model::StopCommand{{}, pool->model().stop_due(), false});
      return;
  }
}

// A pool that mtd cannot be without has failed for good.
void Supervisor::check_essential() {
  if (stopping_ || !serving_) return;
  for (const auto& [name, pool] : pools_) {
    if (!pool->model().spec().essential || pool->removing()) continue;
    if (pool->model().summary(sys::now()).state != PoolState::failed) continue;
    spdlog::error("pool {} has failed and is essential: mtd stops", name);
    publish_own("essential_failed", "mtd stops: the pool is essential", name);
    final_code_ = code(DaemonExit::essential_pool_failed);
    begin_stop(false);
    return;
  }
}

}  // namespace mtd::supervisor
