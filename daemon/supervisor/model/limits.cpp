// What makes a worker due for recycling: tasks, memory, age, idleness. Each limit is drawn for each
// process and only ever shorter than configured, so that workers started together are not due
// together. Who is due waits in the queue of replace.cpp, and leaves it when it is due no more.
#include <algorithm>

#include "daemon/supervisor/model/seeded_fault.h"
#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

std::optional<ExitCause> due_cause(const Process& process, Instant now) {
  const Limits& limits = process.limits;
  if (process.task_limit != 0 && process.tasks >= process.task_limit)
    return ExitCause::recycle_max_tasks;
  if (limits.rss_exceeded) return ExitCause::recycle_max_rss;
  if (limits.expires <= now) return ExitCause::recycle_max_lifetime;
  if (limits.idle_until <= now) return ExitCause::recycle_idle;
  return std::nullopt;
}

Instant next_limit(const Process& process, Instant now) {
  Instant next = Instant::never();
  if (!is_started(process)) return next;
  for (const Instant at : {process.limits.expires, process.limits.idle_until}) {
    if (at > now) next = std::min(next, at);
  }
  return next;
}

std::uint64_t least_rss_limit(const config::RecycleSpec& recycle) {
  const double least = static_cast<double>(recycle.max_rss) * (1 - recycle.jitter);
  return recycle.max_rss == 0 ? 0 : std::max<std::uint64_t>(1, static_cast<std::uint64_t>(least));
}

// From [whole × (1 − jitter), whole], at least one; 0 is no limit.
std::uint64_t Turn::draw(std::uint64_t whole) {
  if (whole == 0) return 0;
  const double jitter = std::clamp(state_.spec.recycle.jitter, 0.0, 1.0);
  const double less = static_cast<double>(whole) * jitter * entropy_.fraction();
  const auto off = static_cast<std::uint64_t>(std::max(0.0, less));
  return std::max<std::uint64_t>(1, whole - std::min(off, whole));
}

Duration Turn::draw(Duration whole) {
  if (whole.is_zero() || whole.is_infinite()) return whole;
  return Duration::nanoseconds(
      static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(whole.count_ns()))));
}

// The program runs since `process.started`.
void Turn::limit_life(Process& process) {
  const config::RecycleSpec& recycle = state_.spec.recycle;
  process.limits.rss = draw(recycle.max_rss);
  process.limits.rss_exceeded = false;
  process.limits.expires = Instant::never();
  if (!recycle.max_lifetime.is_zero())
    process.limits.expires = process.started + draw(recycle.max_lifetime);
}

// It may have work from now on.
void Turn::limit_idleness(Process& process) {
  process.limits.idle = draw(state_.spec.recycle.idle_timeout);
  restart_idleness(process);
}

void Turn::restart_idleness(Process& process) {
  const Duration idle = process.limits.idle;
  const bool works =
      process.activity == Activity::busy && kSeededFault != SeededFault::busy_taken_for_idle;
  process.limits.idle_until = idle.is_zero() || works ? Instant::never() : now_ + idle;
}

void Turn::enqueue_if_due(std::uint32_t slot, const Process& process) {
  if (is_started(process) && due_cause(process, now_)) enqueue(state_.queues.recycle, slot);
}

void Turn::apply(const TasksDone& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  touch(fact.key.slot);
  if (process->limits.idle_until <= now_) mark(fact.key.slot);
  process->tasks += std::min(fact.count, ~std::uint64_t{0} - process->tasks);
  if (is_started(*process)) restart_idleness(*process);
  enqueue_if_due(fact.key.slot, *process);
}

void Turn::apply(const MemoryUsed& fact) {
  Process* process = process_of(fact.key);
  if (process == nullptr) return;
  const std::uint64_t limit = process->limits.rss;
  const bool exceeded = limit != 0 && fact.bytes >= limit;
  if (exceeded == process->limits.rss_exceeded) return;
  process->limits.rss_exceeded = exceeded;
  touch(fact.key.slot);
  enqueue_if_due(fact.key.slot, *process);
}

// A new configuration: what has changed is drawn anew.
void Turn::retarget_limits(const config::RecycleSpec& before, Process& process) {
  const config::RecycleSpec& recycle = state_.spec.recycle;
  const bool redraw = before.jitter != recycle.jitter;
  if (redraw || before.max_tasks != recycle.max_tasks) process.task_limit = draw(recycle.max_tasks);
  const bool life =
      before.max_rss != recycle.max_rss || before.max_lifetime != recycle.max_lifetime;
  if ((redraw || life) && is_running(process)) limit_life(process);
  if ((redraw || before.idle_timeout != recycle.idle_timeout) && is_started(process))
    limit_idleness(process);
}

}  // namespace mtd::model
