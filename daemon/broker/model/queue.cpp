#include "daemon/broker/model/queue.h"

#include <algorithm>

#include "daemon/broker/model/turn.h"

namespace mtd::task {

Queue::Queue(QueueSpec spec, Recovered recovered, Now now) : state_(std::make_unique<State>()) {
  state_->spec = std::move(spec);
  state_->clock_offset_ns = now.wall.ns - now.instant.count_ns();
  std::vector<Action> none;
  Turn(*state_, now, 0, none).recover(std::move(recovered));
}

std::vector<Action> Queue::step(Event event, Now now, std::uint64_t entropy) {
  std::vector<Action> actions;
  step(std::move(event), now, entropy, actions);
  return actions;
}

void Queue::step(Event&& event, Now now, std::uint64_t entropy, std::vector<Action>& actions) {
  Turn(*state_, now, entropy, actions).run(std::move(event));
}

Instant Queue::next_deadline() const {
  Instant next = state_->deadlines.earliest();
  if (!state_->blocked_deadlines.empty()) {
    next = std::min(next, state_->blocked_deadlines.begin()->first);
  }
  if (!state_->closing.empty()) next = std::min(next, state_->closing.begin()->first);
  if (state_->failed) return next;
  for (const StoreSide& side : state_->sides) {
    if (!side.collecting) next = std::min(next, side.collect_at);
    if (!side.probing) next = std::min(next, side.probe_at);
  }
  return next;
}

bool Queue::holds(const WorkerKey& worker, TaskId id, std::uint32_t attempt) const {
  const auto found = state_->by_id.find(id.value);
  if (found == state_->by_id.end()) return false;
  const Task& task = state_->tasks[found->second];
  const auto* running = std::get_if<Running>(&task.place);
  return running != nullptr && running->worker == worker && task.counters.attempts == attempt;
}

bool Queue::is_running(TaskId id, std::uint32_t attempt) const {
  const auto found = state_->by_id.find(id.value);
  if (found == state_->by_id.end()) return false;
  const Task& task = state_->tasks[found->second];
  return is_in<Running>(task) && task.counters.attempts == attempt;
}

std::optional<TaskView> Queue::find(TaskId id) const {
  const auto found = state_->by_id.find(id.value);
  if (found == state_->by_id.end()) return std::nullopt;
  const Task& task = state_->tasks[found->second];
  TaskView view;
  view.id = id;
  view.counters = task.counters;
  view.cancelling = task.cancel.has_value();
  if (const auto* scheduled = std::get_if<Scheduled>(&task.place)) {
    view.state = TaskState::scheduled;
    view.due = scheduled->due;
  } else if (const auto* running = std::get_if<Running>(&task.place)) {
    view.state = TaskState::running;
    view.worker = running->worker;
    view.attempt_deadline = running->deadline;
  } else if (is_in<Ending>(task)) {
    view.state = TaskState::running;
  }
  return view;
}

std::vector<TaskId> Queue::ids(const std::string& group) const {
  std::vector<TaskId> ids;
  if (group.empty()) {
    ids.reserve(state_->by_id.size());
    for (const auto& entry : state_->by_id)
      ids.push_back({entry.first});
  } else if (const auto found = state_->group_by_name.find(group);
             found != state_->group_by_name.end()) {
    for (const Slot slot : state_->groups[found->second].members)
      ids.push_back(state_->tasks[slot].id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::uint64_t Queue::live_in_group(const std::string& group) const {
  const auto found = state_->group_by_name.find(group);
  return found == state_->group_by_name.end() ? 0 : state_->groups[found->second].members.size();
}

QueueView Queue::view() const {
  QueueView view = state_->counts;
  view.blocked_puts = state_->blocked.size();
  view.workers = static_cast<std::uint32_t>(state_->workers.size());
  view.paused = state_->paused;
  view.closed = state_->closed;
  view.store_full = state_->sides[0].full || state_->sides[1].full;
  view.store_failed = state_->failed;
  if (!state_->ready.empty())
    view.oldest_waiting = state_->tasks[state_->ready.begin()->slot].created;
  return view;
}

std::optional<WorkerView> Queue::worker(const WorkerKey& worker) const {
  const auto found = state_->workers.find(worker);
  if (found == state_->workers.end()) return std::nullopt;
  const Worker& is = found->second;
  WorkerView view;
  view.worker = worker;
  view.ready = is.ready;
  view.draining = is.draining;
  view.spent = is.spent;
  view.credit = is.credit;
  view.running = static_cast<std::uint32_t>(is.tasks.size());
  view.given = is.given;
  view.answered = is.answered;
  view.limit = is.limit;
  return view;
}

const QueueSpec& Queue::spec() const {
  return state_->spec;
}

Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;
Queue::Queue(const Queue& other) : state_(std::make_unique<State>(*other.state_)) {}
Queue& Queue::operator=(const Queue& other) {
  if (this != &other) state_ = std::make_unique<State>(*other.state_);
  return *this;
}
Queue::~Queue() = default;

}  // namespace mtd::task
