#include "daemon/broker/model/turn.h"

#include <algorithm>

namespace mtd::task {

void Turn::run(Event&& event) {
  adjust_clock();
  std::visit([this](auto& which) { apply(std::move(which)); }, event);
  fire_deadlines();
  admit_blocked();
  dispatch();
  if (something_left_ && state_.by_id.empty()) emit(QueueDrained{});
}

Slot Turn::find(TaskId id) const {
  const auto found = state_.by_id.find(id.value);
  return found == state_.by_id.end() ? kNone : found->second;
}

Slot Turn::make(const TaskFacts& facts, Place place) {
  Slot slot = 0;
  if (state_.free_slots.empty()) {
    slot = static_cast<Slot>(state_.tasks.size());
    state_.tasks.emplace_back();
  } else {
    slot = state_.free_slots.back();
    state_.free_slots.pop_back();
  }
  Task& task = task_at(slot);
  task = Task();
  task.id = facts.id;
  task.priority = facts.priority;
  task.order = facts.order;
  task.counters = facts.counters;
  task.max_attempts = facts.max_attempts;
  task.timeout = facts.timeout;
  task.expires = facts.expires;
  task.created = facts.created;
  task.bytes = facts.bytes;
  task.durability = facts.durability;
  task.cancel = facts.cancel;
  task.place = Ending{};  // counts for nothing until it is moved
  state_.by_id.emplace(facts.id.value, slot);
  join_group(slot, facts.group);
  move(slot, std::move(place));
  return slot;
}

namespace {

// What a place adds to the counts.
std::uint64_t* counter_of(QueueView& counts, const Place& place) {
  struct Of {
    QueueView& counts;
    std::uint64_t* operator()(const Entering&) const { return &counts.entering; }
    std::uint64_t* operator()(const Scheduled&) const { return &counts.scheduled; }
    std::uint64_t* operator()(const Waiting&) const { return &counts.waiting; }
    std::uint64_t* operator()(const Claiming&) const { return &counts.running; }
    std::uint64_t* operator()(const Running&) const { return &counts.running; }
    std::uint64_t* operator()(const Requeueing&) const { return &counts.running; }
    std::uint64_t* operator()(const Ending&) const { return nullptr; }
  };
  return std::visit(Of{counts}, place);
}

}  // namespace

void Turn::move(Slot slot, Place place) {
  Task& task = task_at(slot);
  if (std::uint64_t* count = counter_of(state_.counts, task.place)) --*count;
  if (is_queued(task.place)) {
    --state_.queued;
    state_.counts.bytes -= task.bytes;
  }
  if (is_in<Waiting>(task)) state_.ready.erase({task.priority, task.order, slot});
  task.place = std::move(place);
  if (std::uint64_t* count = counter_of(state_.counts, task.place)) ++*count;
  if (is_queued(task.place)) {
    ++state_.queued;
    state_.counts.bytes += task.bytes;
  }
  if (is_in<Waiting>(task)) state_.ready.insert({task.priority, task.order, slot});
  arm(slot);
}

// The one deadline of a task: of its place, or of its expiry while it has not begun.
void Turn::arm(Slot slot) {
  const Task& task = task_at(slot);
  Instant deadline = Instant::never();
  const Instant expires = state_.instant_at(task.expires);
  if (const auto* scheduled = std::get_if<Scheduled>(&task.place)) {
    deadline = std::min(scheduled->due, expires);
  } else if (is_in<Waiting>(task)) {
    deadline = expires;
  } else if (const auto* running = std::get_if<Running>(&task.place)) {
    deadline = running->deadline;
    if (kSeededFault == SeededFault::expired_while_running) {
      deadline = std::min(deadline, expires);
    }
  }
  state_.deadlines.set(slot, deadline);
}

void Turn::drop(Slot slot) {
  move(slot, Ending{});
  leave_group(slot);
  state_.by_id.erase(task_at(slot).id.value);
  task_at(slot) = Task();
  task_at(slot).place = Ending{};
  state_.free_slots.push_back(slot);
  something_left_ = true;
}

void Turn::join_group(Slot slot, const std::string& name) {
  if (name.empty()) return;
  auto found = state_.group_by_name.find(name);
  if (found == state_.group_by_name.end()) {
    std::uint32_t index = 0;
    if (state_.free_groups.empty()) {
      index = static_cast<std::uint32_t>(state_.groups.size());
      state_.groups.emplace_back();
    } else {
      index = state_.free_groups.back();
      state_.free_groups.pop_back();
    }
    state_.groups[index].name = name;
    found = state_.group_by_name.emplace(name, index).first;
  }
  Task& task = task_at(slot);
  task.group = found->second;
  task.member = static_cast<std::uint32_t>(state_.groups[task.group].members.size());
  state_.groups[task.group].members.push_back(slot);
}

void Turn::leave_group(Slot slot) {
  Task& task = task_at(slot);
  if (task.group == kNone) return;
  Group& group = state_.groups[task.group];
  const Slot last = group.members.back();
  group.members[task.member] = last;
  task_at(last).member = task.member;
  group.members.pop_back();
  if (group.members.empty()) {
    emit(GroupSettled{group.name});
    state_.group_by_name.erase(group.name);
    group = Group();
    state_.free_groups.push_back(task.group);
  }
  task.group = kNone;
}

// Where a task stands that nobody works on.
void Turn::place_queued(Slot slot, TaskState state, WallTime due, bool by_wall) {
  if (state != TaskState::scheduled) return move(slot, Waiting{});
  Scheduled scheduled;
  scheduled.due = state_.instant_at(due);
  if (by_wall) scheduled.appointment = due;
  move(slot, scheduled);
}

}  // namespace mtd::task
