// What time does: retries and appointments come, tasks expire, attempts take too long, puts wait
// too long, results have been kept long enough.
#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {
namespace {

// A clock that is set is told from one that is only kept right.
constexpr std::int64_t kClockSlackNs = 500'000'000;
constexpr Duration kCollectAtLeast = Duration::seconds(1);
constexpr Duration kCollectAtMost = Duration::seconds(60);

}  // namespace

// Somebody has set the wall clock: what was to happen at a time of day happens at that time of day.
void Turn::adjust_clock() {
  const std::int64_t offset = now_.wall.ns - now_.instant.count_ns();
  const std::int64_t moved = offset - state_.clock_offset_ns;
  if (moved <= kClockSlackNs && moved >= -kClockSlackNs) return;
  state_.clock_offset_ns = offset;
  for (Slot slot = 0; slot < state_.tasks.size(); ++slot) {
    auto* scheduled = std::get_if<Scheduled>(&state_.tasks[slot].place);
    if (scheduled != nullptr && scheduled->appointment) {
      scheduled->due = state_.instant_at(*scheduled->appointment);
    }
    arm(slot);
  }
  for (StoreSide& side : state_.sides)
    plan_collect(side);
}

void Turn::fire_deadlines() {
  while (const auto due = state_.deadlines.take_due(now_.instant))
    expire(*due);
  expire_blocked();
  end_closed();
  if (state_.failed) return;
  probe(state_.sides[0], Durability::fsync);
  probe(state_.sides[1], Durability::memory);
  collect(state_.sides[0], Durability::fsync);
  collect(state_.sides[1], Durability::memory);
}

void Turn::expire(Slot slot) {
  Task& task = task_at(slot);
  if (auto* running = std::get_if<Running>(&task.place)) {
    if (kSeededFault == SeededFault::expired_while_running) {
      if (state_.instant_at(task.expires) <= now_.instant) {
        take_from(running->worker, slot);
        return finish(slot, TaskState::expired, Reason::expired, std::nullopt, nullptr, false);
      }
    }
    return expire_running(slot, *running);
  }
  if (state_.instant_at(task.expires) <= now_.instant) {
    return finish(slot, TaskState::expired, Reason::expired, std::nullopt, nullptr, false);
  }
  if (is_in<Scheduled>(task)) promote(slot);
}

void Turn::expire_running(Slot slot, Running& running) {
  const WorkerKey worker = running.worker;
  if (running.stage == Stage::working) {
    running.stage = Stage::timed_out;
    running.deadline = now_.instant + state_.spec.grace;
    emit(SendCancel{worker, task_at(slot).id, CancelCause::timeout, state_.spec.grace});
    return arm(slot);
  }
  if (kSeededFault == SeededFault::timeout_without_kill) return;
  running.timed_out = running.stage == Stage::timed_out;
  running.stage = Stage::killed;
  running.deadline = Instant::never();
  end_worker(worker, running.timed_out ? KillCause::task_timeout : KillCause::cancelled);
}

void Turn::promote(Slot slot) {
  Task& task = task_at(slot);
  task.order = state_.next_order++;
  submit(task.durability, PromoteOp{task.id, task.order});
  move(slot, Waiting{});
}

void Turn::probe(StoreSide& side, Durability durability) {
  if (side.probing || side.probe_at > now_.instant) return;
  side.probing = true;
  submit(durability, ProbeOp{});
}

void Turn::collect(StoreSide& side, Durability durability) {
  if (side.collecting || side.collect_at > now_.instant) return;
  side.collecting = true;
  side.collect_at = Instant::never();
  side.last_collect = now_.instant;
  const auto before = [this](Duration ttl) {
    return ttl.is_infinite() || ttl.count_ns() > now_.wall.ns
               ? WallTime{0}
               : WallTime{now_.wall.ns - ttl.count_ns() + 1};
  };
  CollectOp op;
  op.pool = state_.spec.pool;
  op.done_before = before(state_.spec.result_ttl);
  op.dead_before = before(state_.spec.dead_ttl);
  submit(durability, std::move(op));
}

// The next look at what has been kept long enough: when the oldest is due, and not too often.
void Turn::plan_collect(StoreSide& side) {
  const QueueSpec& spec = state_.spec;
  const WallTime due =
      std::min(side.oldest_done + spec.result_ttl, side.oldest_dead + spec.dead_ttl);
  if (due.is_never()) {
    side.collect_at = Instant::never();
    return;
  }
  const Duration shorter = std::min(spec.result_ttl, spec.dead_ttl);
  const Duration pause =
      std::clamp(shorter.is_infinite() ? kCollectAtMost : shorter.scaled_by(1.0 / 64),
                 kCollectAtLeast, kCollectAtMost);
  side.collect_at = std::max(state_.instant_at(due), side.last_collect + pause);
}

void Turn::note_final(Durability durability, TaskState state, WallTime finished) {
  StoreSide& side = state_.side_of(durability);
  WallTime& oldest = state == TaskState::dead ? side.oldest_dead : side.oldest_done;
  QueueView& counts = state_.counts;
  if (state == TaskState::done) ++counts.done;
  if (state == TaskState::dead) ++counts.dead;
  if (state == TaskState::cancelled) ++counts.cancelled;
  if (state == TaskState::expired) ++counts.expired;
  if (finished >= oldest) return;
  oldest = finished;
  plan_collect(side);
}

}  // namespace mtd::task
