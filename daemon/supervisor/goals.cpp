#include "daemon/supervisor/goals.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/status_json.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {
namespace {

using model::PoolState;
using model::WorkerState;

const PoolRunner* find_pool(const Goal& goal, const Supervisor& supervisor) {
  const auto found = supervisor.pools().find(goal.target.pool);
  return found == supervisor.pools().end() ? nullptr : found->second.get();
}

bool is_ready(const model::PoolView& view) {
  return view.state == PoolState::completed || view.ready >= view.want;
}

// Why there is no point in waiting on; "" when there is. Back-off alone says little: processes of
// before may have died on their own. It counts once the new ones have failed, too.
std::string hopeless(const Goal& goal, const PoolRunner& pool, const model::PoolView& view) {
  if (view.state == PoolState::stopped) return "it was stopped meanwhile";
  const std::uint32_t of_before = goal.kind == GoalKind::started ? 0 : view.want;
  const bool failing =
      view.state == PoolState::backoff && view.alive == 0 && goal.tally->unplanned > of_before;
  if (view.state != PoolState::failed && !view.breaker_open && !view.rollout_failed && !failing)
    return {};
  const std::string note = note_of(pool, view, this_moment());
  return note.empty() ? "it is in state " + std::string(model::name_of(view.state)) : note;
}

Judgement reached_when(bool reached) {
  return {reached ? Verdict::reached : Verdict::pending, {}};
}

// "web/3 pid 711, …" when all that is left of the target is stuck in the kernel; else "".
std::string all_stuck(const PoolRunner& pool, const Goal& goal) {
  if (pool.model().summary(sys::now()).stuck == 0) return {};
  std::string names;
  for (const auto& slot : pool.model().view(sys::now()).slots) {
    const auto& slots = goal.target.slots;
    if (!slots.empty() && std::find(slots.begin(), slots.end(), slot.slot) == slots.end()) continue;
    for (const auto& process : slot.processes) {
      if (process.state != WorkerState::stuck) return {};
      names += (names.empty() ? "" : ", ") + pool.name() + "/" + std::to_string(slot.slot) +
               " pid " + std::to_string(process.pid);
    }
  }
  return names;
}

Judgement judge_slot(const Goal& goal, const PoolRunner& pool, std::uint32_t number) {
  const auto slot = pool.model().slot_view(number);
  const bool stopped = !slot || slot->processes.empty();
  const std::string name = pool.name() + "/" + std::to_string(number);
  switch (goal.kind) {
    case GoalKind::stopped:
      return reached_when(stopped && (!slot || slot->state == WorkerState::stopped ||
                                      slot->state == WorkerState::failed ||
                                      slot->state == WorkerState::completed));
    case GoalKind::removed:
    case GoalKind::at_once:
      return {Verdict::reached, {}};
    case GoalKind::started:
    case GoalKind::ready:
    case GoalKind::restarted:
    case GoalKind::reloaded:
    case GoalKind::scaled:
      break;
  }
  if (!slot) return {Verdict::failed, name + " is gone"};
  const auto before = goal.before.find(number);
  const bool replaced =
      before == goal.before.end() ||
      (!slot->processes.empty() && slot->processes.front().key.incarnation > before->second);
  if (slot->state == WorkerState::ready && replaced) return {Verdict::reached, {}};
  if (slot->state == WorkerState::completed) return {Verdict::reached, {}};
  if (goal.kind == GoalKind::ready) return {};
  if (slot->state == WorkerState::failed || slot->state == WorkerState::backoff) {
    return {Verdict::failed, name + " is in state " + std::string(model::name_of(slot->state))};
  }
  return {};
}

Judgement judge_pool(const Goal& goal, const PoolRunner& pool) {
  const auto view = pool.model().summary(sys::now());
  std::string reason;
  switch (goal.kind) {
    case GoalKind::at_once:
      return {Verdict::reached, {}};
    case GoalKind::removed:
      return reached_when(!pool.removing());
    case GoalKind::stopped:
      return reached_when(pool.is_empty() &&
                          (view.state == PoolState::stopped || view.state == PoolState::completed ||
                           view.state == PoolState::failed));
    case GoalKind::ready:
      return reached_when(is_ready(view) && view.state != PoolState::stopped);
    case GoalKind::started:
      if (is_ready(view) && view.state != PoolState::stopped) return {Verdict::reached, {}};
      break;
    case GoalKind::restarted:
      if (view.restart_remaining == 0 && view.rollout_remaining == 0 && is_ready(view)) {
        return {Verdict::reached, {}};
      }
      break;
    case GoalKind::reloaded:
      if (view.state == PoolState::stopped || view.state == PoolState::stopping)
        return {Verdict::reached, {}};
      if (view.rollout_remaining == 0 && !view.rollout_failed && is_ready(view) &&
          view.alive <= view.want) {
        return {Verdict::reached, {}};
      }
      break;
    case GoalKind::scaled:
      if (view.state == PoolState::stopped) return {Verdict::reached, {}};
      if (is_ready(view) && view.alive <= view.want) return {Verdict::reached, {}};
      break;
  }
  reason = hopeless(goal, pool, view);
  if (reason.empty()) return {};
  return {Verdict::failed, reason};
}

std::string join_left_overs(const Tally& tally) {
  std::string text;
  for (const auto& process : tally.left_overs) {
    text += (text.empty() ? "" : ", ") + std::to_string(process.pid) + " " +
            escape_for_terminal(process.comm);
  }
  return text;
}

std::string stop_text(const Tally& tally, const std::string& elapsed) {
  std::string text = "stopped in " + elapsed;
  std::string parts;
  const auto add = [&](std::size_t count, const std::string& what) {
    if (count == 0) return;
    parts += (parts.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(tally.exited, "exited");
  add(tally.killed, "killed");
  const std::size_t left = tally.left_overs.size();
  add(left,
      std::string(left == 1 ? "leftover" : "leftovers") + " killed: " + join_left_overs(tally));
  return parts.empty() ? text : text + " (" + parts + ")";
}

std::string done_text(const Goal& goal, const model::PoolView& view, const std::string& elapsed) {
  const std::string ready = std::to_string(view.ready) + "/" + std::to_string(view.want) + " ready";
  switch (goal.kind) {
    case GoalKind::started:
      return "started in " + elapsed + ", " + ready;
    case GoalKind::ready:
      return ready;
    case GoalKind::stopped:
      return stop_text(*goal.tally, elapsed);
    case GoalKind::restarted:
      return "restarted in " + elapsed + ", " + ready;
    case GoalKind::reloaded:
      return "revision " + std::to_string(view.revision) + " in force, " + ready;
    case GoalKind::scaled:
      return "scaled in " + elapsed + ", " + ready;
    case GoalKind::removed:
      return "removed in " + elapsed;
    case GoalKind::at_once:
      return goal.done_text;
  }
  return {};
}

}  // namespace

Goal make_goal(GoalKind kind, const SelectedPool& target, PoolRunner& pool) {
  Goal goal;
  goal.kind = kind;
  goal.target = target;
  goal.since = sys::now();
  pool.watch_tally(goal.tally);
  if (kind == GoalKind::restarted) {
    for (const auto number : target.slots) {
      const auto slot = pool.model().slot_view(number);
      if (slot) goal.before[number] = slot->incarnation;
    }
  }
  return goal;
}

Judgement judge(const Goal& goal, const Supervisor& supervisor) {
  const PoolRunner* pool = find_pool(goal, supervisor);
  if (pool == nullptr) {
    const bool gone_is_fine = goal.kind == GoalKind::stopped || goal.kind == GoalKind::removed ||
                              goal.kind == GoalKind::at_once;
    return gone_is_fine ? Judgement{Verdict::reached, {}}
                        : Judgement{Verdict::failed, "the pool was removed"};
  }
  if (!pool->all_is_told()) return {};
  const std::string stuck = goal.kind == GoalKind::stopped ? all_stuck(*pool, goal) : std::string();
  if (!stuck.empty()) {
    return {Verdict::failed, "stuck in the kernel, even SIGKILL does not end it: " + stuck};
  }
  if (goal.target.whole()) return judge_pool(goal, *pool);
  Judgement all{Verdict::reached, {}};
  for (const auto slot : goal.target.slots) {
    const auto each = judge_slot(goal, *pool, slot);
    if (each.verdict == Verdict::failed) return each;
    if (each.verdict == Verdict::pending) all = each;
  }
  return all;
}

nlohmann::json result_json(const Goal& goal, const Judgement& judgement,
                           const Supervisor& supervisor) {
  using nlohmann::json;
  const Duration elapsed = sys::now().since(goal.since);
  const PoolRunner* pool = find_pool(goal, supervisor);
  const auto view = pool == nullptr ? model::PoolView{} : pool->model().summary(sys::now());
  json left = json::array();
  for (const auto& process : goal.tally->left_overs) {
    left.push_back({{"pid", process.pid}, {"comm", escape_for_terminal(process.comm)}});
  }
  json stuck = json::array();
  if (pool != nullptr && view.stuck > 0) {
    for (const auto& slot : pool->model().view(sys::now()).slots) {
      for (const auto& process : slot.processes) {
        if (process.state != WorkerState::stuck) continue;
        stuck.push_back(
            {{"pid", process.pid}, {"worker", pool->name() + "/" + std::to_string(slot.slot)}});
      }
    }
  }
  std::string message;
  if (judgement.verdict == Verdict::reached)
    message = done_text(goal, view, format_duration_brief(elapsed));
  if (judgement.verdict == Verdict::failed) message = judgement.reason;
  if (judgement.verdict == Verdict::pending) message = model::name_of(view.state);
  return {{"name", goal.target.pool},
          {"state", pool == nullptr ? "stopped" : model::name_of(view.state)},
          {"ready", view.ready},
          {"want", view.want},
          {"ok", judgement.verdict != Verdict::failed},
          {"message", message},
          {"elapsed_ms", elapsed.count_ms()},
          {"exited", goal.tally->exited},
          {"killed", goal.tally->killed},
          {"leftovers", left},
          {"stuck", stuck}};
}

}  // namespace mtd::supervisor
