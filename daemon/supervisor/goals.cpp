#include "daemon/supervisor/goals.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/rollout_text.h"
#include "daemon/supervisor/status_json.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {
namespace {

using model::PoolState;
using model::WorkerState;

// How long a process has to live before "started" is said, where min_uptime is longer.
constexpr Duration kLongestTrial = Duration::seconds(1);

const PoolRunner* find_pool(const Goal& goal, const Supervisor& supervisor) {
  const auto found = supervisor.pools().find(goal.target.pool);
  return found == supervisor.pools().end() ? nullptr : found->second.get();
}

bool is_ready(const model::PoolView& view) {
  if (view.held_back) return false;
  return view.state == PoolState::completed || view.ready >= view.want;
}

// Whether processes of this operation have failed. Those of before may have died on their own.
bool new_ones_failed(const Goal& goal, const PoolRunner& pool, const model::PoolView& view) {
  if (goal.kind == GoalKind::started) return goal.tally->unplanned > 0;
  if (goal.kind != GoalKind::restarted) return goal.tally->unplanned > view.want;
  return std::any_of(goal.before.begin(), goal.before.end(), [&](const auto& then) {
    const auto slot = pool.model().slot_view(then.first);
    return slot && !slot->exits.empty() && !slot->exits.front().planned &&
           slot->exits.front().incarnation > then.second;
  });
}

// Why there is no point in waiting on; "" when there is. Back-off alone says little: it counts once
// the new ones have failed.
std::string hopeless(const Goal& goal, const PoolRunner& pool, const model::PoolView& view) {
  if (view.state == PoolState::stopped) return "it was stopped meanwhile";
  // What comes by itself is waited for; what somebody has to start, or mend, is not.
  if (view.held_back && pool.order_note().find("(it is ") != std::string::npos)
    return "it " + pool.order_note();
  const bool failing =
      view.state == PoolState::backoff && view.alive == 0 && new_ones_failed(goal, pool, view);
  if (view.state != PoolState::failed && !view.breaker_open && !failing) return {};
  const std::string note = note_of(pool, view, this_moment());
  return note.empty() ? "it is in state " + std::string(model::name_of(view.state)) : note;
}

Judgement reached_when(bool reached) {
  Judgement judgement;
  if (reached) judgement.verdict = Verdict::reached;
  return judgement;
}

Judgement failed_because(const std::string& reason) {
  Judgement judgement;
  judgement.verdict = Verdict::failed;
  judgement.reason = reason;
  return judgement;
}

// With `ready: exec` a process is ready before it has done anything: one that cannot live is, too.
// So it has to live for a moment. To know that a program can live, one process of it is enough;
// where each process is new for a reason, as after a start, each one has to.
Instant proven_at(const Goal& goal, const PoolRunner& pool) {
  const config::PoolSpec& spec = pool.model().spec();
  const Duration trial = std::min(spec.min_uptime, kLongestTrial);
  if (spec.ready != config::ReadyMode::exec) return {};
  switch (goal.kind) {
    case GoalKind::started:
    case GoalKind::restarted:
      return pool.model().ready_span(goal.target.slots).last + trial;
    case GoalKind::reloaded:
    case GoalKind::scaled: {
      const Instant first = pool.model().ready_span(goal.target.slots).first;
      return first.is_never() ? Instant() : first + trial;
    }
    case GoalKind::ready:
    case GoalKind::stopped:
    case GoalKind::removed:
    case GoalKind::at_once:
      break;
  }
  return {};
}

Judgement once_proven(const Judgement& judgement, const Goal& goal, const PoolRunner& pool) {
  if (judgement.verdict != Verdict::reached) return judgement;
  const Instant proven = proven_at(goal, pool);
  if (proven <= sys::now()) return judgement;
  Judgement pending;
  pending.again = proven;
  return pending;
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
      return reached_when(true);
    case GoalKind::started:
    case GoalKind::ready:
    case GoalKind::restarted:
    case GoalKind::reloaded:
    case GoalKind::scaled:
      break;
  }
  if (!slot) return failed_because(name + " is gone");
  const auto before = goal.before.find(number);
  const bool replaced =
      before == goal.before.end() ||
      (!slot->processes.empty() && slot->processes.front().key.incarnation > before->second);
  if (model::is_ready(slot->state) && replaced) return reached_when(true);
  if (slot->state == WorkerState::completed) return reached_when(true);
  if (goal.kind == GoalKind::ready) return {};
  if (slot->state == WorkerState::failed || slot->state == WorkerState::backoff) {
    return failed_because(name + " is in state " + std::string(model::name_of(slot->state)));
  }
  return {};
}

// Also what did not come up is waited for until the pool is whole again. Empty: it goes on, or not
// at all.
std::optional<Judgement> judge_rollout(const Goal& goal, const PoolRunner& pool,
                                       const model::PoolView& view) {
  const model::RolloutView& rollout = view.rollout;
  if (rollout.state == model::RolloutState::paused) {
    return failed_because("the roll-out is paused: " + rollout_note(pool, view) +
                          "; mtctl rollout resume " + pool.name() + " goes on with it");
  }
  if (rollout.state != model::RolloutState::none || !is_ready(view) || view.alive > view.want)
    return std::nullopt;
  if (view.revision >= goal.revision) return reached_when(true);
  const std::string in_force = "; revision " + std::to_string(view.revision) + " is in force";
  if (rollout.failed == goal.revision)
    return failed_because(failed_revision_text(pool, view) + in_force);
  return failed_because("revision " + std::to_string(goal.revision) + " was taken back" + in_force);
}

Judgement judge_pool(const Goal& goal, const PoolRunner& pool) {
  const auto view = pool.model().summary(sys::now());
  std::string reason;
  switch (goal.kind) {
    case GoalKind::at_once:
      return reached_when(true);
    case GoalKind::removed:
      return reached_when(!pool.removing());
    case GoalKind::stopped:
      return reached_when(pool.is_empty() &&
                          (view.state == PoolState::stopped || view.state == PoolState::completed ||
                           view.state == PoolState::failed));
    case GoalKind::ready:
      return reached_when(is_ready(view) && view.state != PoolState::stopped);
    case GoalKind::started:
      if (is_ready(view) && view.state != PoolState::stopped) return reached_when(true);
      break;
    case GoalKind::restarted:
      if (view.restart_remaining == 0 && view.rollout.remaining == 0 && is_ready(view)) {
        return reached_when(true);
      }
      break;
    case GoalKind::reloaded:
      if (view.state == PoolState::stopped || view.state == PoolState::stopping)
        return reached_when(true);
      if (const auto judged = judge_rollout(goal, pool, view)) return *judged;
      break;
    case GoalKind::scaled:
      if (view.state == PoolState::stopped) return reached_when(true);
      if (is_ready(view) && view.alive <= view.want) return reached_when(true);
      break;
  }
  reason = hopeless(goal, pool, view);
  if (reason.empty()) return {};
  return failed_because(reason);
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
      return stop_text(*goal.tally, elapsed) +
             (goal.done_text.empty() ? "" : "; " + goal.done_text);
    case GoalKind::restarted:
      return "restarted in " + elapsed + ", " + ready;
    case GoalKind::reloaded:
      return "revision " + std::to_string(view.revision) + " in force, " + ready +
             (goal.done_text.empty() ? "" : ", " + goal.done_text);
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
  goal.revision = pool.revision();
  pool.watch_tally(goal.tally);
  if (kind == GoalKind::restarted) {
    for (const auto number : target.whole() ? pool.model().shown_slots() : target.slots) {
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
    return gone_is_fine ? reached_when(true) : failed_because("the pool was removed");
  }
  if (!pool->all_is_told()) return {};
  const std::string stuck = goal.kind == GoalKind::stopped ? all_stuck(*pool, goal) : std::string();
  if (!stuck.empty()) {
    return failed_because("stuck in the kernel, even SIGKILL does not end it: " + stuck);
  }
  if (goal.target.whole()) return once_proven(judge_pool(goal, *pool), goal, *pool);
  Judgement all = reached_when(true);
  for (const auto slot : goal.target.slots) {
    const auto each = judge_slot(goal, *pool, slot);
    if (each.verdict == Verdict::failed) return each;
    if (each.verdict == Verdict::pending) all = each;
  }
  return once_proven(all, goal, *pool);
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
