#include "daemon/broker/store/memory_store.h"

#include <algorithm>

namespace mtd::task {
namespace {

std::uint64_t size_of(const AnswerRef& answer) {
  return answer ? answer->result.size() + answer->data.size() + answer->error.size() : 0;
}

}  // namespace

bool fits(const TaskFilter& filter, const TaskRow& row) {
  if (!filter.pool.empty() && row.pool != filter.pool) return false;
  if (!filter.group.empty() && row.facts.group != filter.group) return false;
  const auto& states = filter.states;
  return states.empty() || std::find(states.begin(), states.end(), row.facts.state) != states.end();
}

Result<StoreContents> MemoryStore::load() {
  StoreContents contents;
  contents.last_id = last_id_;
  for (const auto& [id, entry] : tasks_) {
    if (!is_final(entry.row.facts.state))
      contents.pools[entry.row.pool].tasks.push_back(entry.row.facts);
  }
  for (const auto& [pool, of] : ended_) {
    Recovered& recovered = contents.pools[pool];
    if (!of.done.empty()) recovered.oldest_done = of.done.begin()->first;
    if (!of.dead.empty()) recovered.oldest_dead = of.dead.begin()->first;
  }
  return contents;
}

std::vector<StoreDone> MemoryStore::write(std::vector<StoreOp> batch) {
  std::vector<StoreDone> completions;
  completions.reserve(batch.size());
  for (StoreOp& op : batch) {
    StoreDone& done = completions.emplace_back();
    apart_ = op.claimed_apart;
    done.status = std::visit([&](const auto& what) { return apply(what, done); }, op.what);
    done.op = std::move(op);
  }
  return completions;
}

MemoryStore::Entry* MemoryStore::live(TaskId id, std::uint32_t attempt) {
  const auto found = tasks_.find(id.value);
  if (found == tasks_.end()) return nullptr;
  const TaskFacts& facts = found->second.row.facts;
  const std::uint32_t known = facts.counters.attempts;
  const bool counts = known == attempt || (apart_ && known + 1 == attempt);
  return !is_final(facts.state) && counts ? &found->second : nullptr;
}

PutOutcome MemoryStore::existing(const std::string& pool, const NewTask& task) const {
  if (task.body && !task.body->uid.empty()) {
    const auto same = by_uid_.find(task.body->uid);
    if (same != by_uid_.end()) return {TaskId{same->second}, Existed::by_uid};
  }
  if (!task.facts.unique.empty()) {
    const auto same = by_unique_.find({pool, task.facts.unique});
    if (same != by_unique_.end()) return {TaskId{same->second}, Existed::by_unique};
  }
  return {task.facts.id, Existed::no};
}

StoreStatus MemoryStore::apply(const PutOp& op, StoreDone& done) {
  std::uint64_t bytes = 0;
  for (const NewTask& task : op.tasks)
    bytes += task.facts.bytes;
  if (bytes_ + bytes > limit_) return StoreStatus::full;
  for (const NewTask& task : op.tasks) {
    const PutOutcome outcome = existing(op.pool, task);
    done.puts.push_back(outcome);
    if (outcome.existed != Existed::no) continue;
    Entry& entry = tasks_[task.facts.id.value];
    entry.row.pool = op.pool;
    entry.row.facts = task.facts;
    entry.body = task.body;
    bytes_ += task.facts.bytes;
    last_id_ = std::max(last_id_, task.facts.id);
    if (task.body && !task.body->uid.empty()) by_uid_[task.body->uid] = task.facts.id.value;
    if (!task.facts.unique.empty()) by_unique_[{op.pool, task.facts.unique}] = task.facts.id.value;
  }
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const ClaimOp& op, StoreDone& done) {
  Entry* entry = live(op.id, op.attempt - 1);
  if (entry == nullptr || entry->row.facts.state == TaskState::running) return StoreStatus::missing;
  TaskFacts& facts = entry->row.facts;
  facts.state = TaskState::running;
  facts.counters.attempts = op.attempt;
  facts.worker = op.worker;
  facts.started = op.started;
  done.body = entry->body;
  return StoreStatus::committed;
}

void MemoryStore::set_answer(Entry& entry, AnswerRef answer) {
  bytes_ -= size_of(entry.answer);
  entry.answer = std::move(answer);
  bytes_ += size_of(entry.answer);
}

void MemoryStore::remember(Entry& entry, const AttemptRecord& record) {
  entry.row.death = record.death;
  if (!entry.history.empty() && entry.history.back().attempt == record.attempt)
    entry.history.pop_back();  // one row an attempt
  entry.history.push_back(record);
  if (entry.history.size() > kHistoryDepth) entry.history.erase(entry.history.begin());
}

std::set<std::pair<WallTime, std::uint64_t>>& MemoryStore::ended(const TaskRow& row) {
  Ended& of = ended_[row.pool];
  return row.facts.state == TaskState::dead ? of.dead : of.done;
}

StoreStatus MemoryStore::apply(const FinishOp& op, StoreDone&) {
  Entry* entry = live(op.id, op.attempt);
  if (entry == nullptr) return StoreStatus::missing;
  TaskFacts& facts = entry->row.facts;
  facts.state = op.state;
  facts.counters = op.counters;
  entry->row.reason = op.reason;
  entry->row.finished = op.finished;
  entry->row.death = Death();
  if (op.record) {
    facts.worker = op.record->worker;
    facts.started = op.record->started;
    remember(*entry, *op.record);
  }
  if (op.answer) set_answer(*entry, op.answer);
  if (!facts.unique.empty()) by_unique_.erase({entry->row.pool, facts.unique});
  ended(entry->row).insert({op.finished, op.id.value});
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const RequeueOp& op, StoreDone&) {
  Entry* entry = live(op.id, op.attempt);
  if (entry == nullptr) return StoreStatus::missing;
  TaskFacts& facts = entry->row.facts;
  facts.state = op.state;
  facts.counters = op.counters;
  facts.order = op.order;
  facts.due = op.due;
  facts.due_by_wall = false;
  entry->row.reason = op.reason;
  remember(*entry, op.record);
  if (op.answer) set_answer(*entry, op.answer);
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const PromoteOp& op, StoreDone&) {
  const auto found = tasks_.find(op.id.value);
  if (found == tasks_.end() || found->second.row.facts.state != TaskState::scheduled)
    return StoreStatus::missing;
  found->second.row.facts.state = TaskState::waiting;
  found->second.row.facts.order = op.order;
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const CancelOp& op, StoreDone&) {
  Entry* entry = live(op.id, op.attempt);
  if (entry == nullptr) return StoreStatus::missing;
  entry->row.facts.cancel = op.reason;
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const ReviveOp& op, StoreDone& done) {
  const auto found = tasks_.find(op.id.value);
  if (found == tasks_.end()) return StoreStatus::missing;
  Entry& entry = found->second;
  TaskFacts& facts = entry.row.facts;
  if (entry.row.pool != op.pool || !is_final(facts.state) || facts.state == TaskState::done)
    return StoreStatus::missing;
  if (!facts.unique.empty() &&
      !by_unique_.try_emplace({op.pool, facts.unique}, op.id.value).second) {
    return StoreStatus::duplicate;
  }
  ended(entry.row).erase({entry.row.finished, op.id.value});
  facts.state = TaskState::waiting;
  facts.order = op.order;
  facts.counters = Counters{facts.counters.attempts, 0, 0, 0};
  facts.expires = WallTime::never();
  facts.cancel.reset();
  entry.row.reason = Reason::none;
  entry.row.death = Death();
  entry.row.finished = WallTime();
  entry.history.clear();
  set_answer(entry, nullptr);
  done.facts = facts;
  return StoreStatus::committed;
}

bool MemoryStore::remove(std::uint64_t id, std::vector<std::string>& files) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end() || !is_final(found->second.row.facts.state)) return false;
  const Entry& entry = found->second;
  ended(entry.row).erase({entry.row.finished, id});
  if (entry.answer && !entry.answer->file.empty()) files.push_back(entry.answer->file);
  bytes_ -= entry.row.facts.bytes + size_of(entry.answer);
  if (entry.body && !entry.body->uid.empty()) by_uid_.erase(entry.body->uid);
  tasks_.erase(found);
  return true;
}

StoreStatus MemoryStore::apply(const CollectOp& op, StoreDone& done) {
  Ended& of = ended_[op.pool];
  const auto collect = [&](auto& list, WallTime before) {
    while (!list.empty() && list.begin()->first < before && done.removed < op.limit) {
      remove(list.begin()->second, done.files);
      ++done.removed;
    }
    return list.empty() ? WallTime::never() : list.begin()->first;
  };
  done.oldest_done = collect(of.done, op.done_before);
  done.oldest_dead = collect(of.dead, op.dead_before);
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const RemoveOp& op, StoreDone& done) {
  for (const TaskId id : op.ids)
    done.removed += remove(id.value, done.files) ? 1 : 0;
  return StoreStatus::committed;
}

StoreStatus MemoryStore::apply(const ProbeOp&, StoreDone&) {
  return bytes_ < limit_ ? StoreStatus::committed : StoreStatus::full;
}

// ---- Questions ----------------------------------------------------------------------------------
StoreReply MemoryStore::answer(const StoreQuestion& question) {
  return std::visit([this](const auto& which) { return reply(which); }, question);
}

FoundTask MemoryStore::found(const Entry& entry, bool body, bool answer, bool history) const {
  FoundTask task;
  task.row = entry.row;
  if (entry.body) {
    task.row.uid = entry.body->uid;
    task.row.name = entry.body->name;
  }
  if (body) task.body = entry.body;
  if (answer) task.answer = entry.answer;
  if (history) task.history = entry.history;
  return task;
}

StoreReply MemoryStore::reply(const FindTask& question) {
  StoreReply reply;
  std::uint64_t id = question.id.value;
  if (id == 0) {
    const auto named = by_uid_.find(question.uid);
    if (named != by_uid_.end()) id = named->second;
  }
  const auto entry = tasks_.find(id);
  if (entry != tasks_.end()) {
    reply.tasks.push_back(
        found(entry->second, question.with_body, question.with_answer, question.with_history));
  }
  return reply;
}

StoreReply MemoryStore::reply(const ListTasks& question) {
  StoreReply reply;
  const std::size_t most = std::min(question.filter.limit, kMostListed);
  for (auto at = tasks_.upper_bound(question.filter.after.value);
       at != tasks_.end() && reply.tasks.size() < most; ++at) {
    if (fits(question.filter, at->second.row))
      reply.tasks.push_back(found(at->second, false, question.with_answer, false));
  }
  return reply;
}

StoreReply MemoryStore::reply(const CountTasks& question) {
  StoreReply reply;
  const TaskFilter filter{question.pool, question.group, {}, {}, 0};
  for (const auto& [id, entry] : tasks_) {
    if (fits(filter, entry.row))
      ++reply.counts.by_state[static_cast<std::size_t>(entry.row.facts.state)];
  }
  return reply;
}

StoreReply MemoryStore::reply(const RemoveTasks& question) {
  StoreReply reply;
  auto at = tasks_.upper_bound(question.filter.after.value);
  while (at != tasks_.end() && reply.removed < question.filter.limit) {
    const auto next = std::next(at);
    if (fits(question.filter, at->second.row) && remove(at->first, reply.files)) ++reply.removed;
    at = next;
  }
  return reply;
}

StoreReply MemoryStore::reply(const DescribeStore&) {
  StoreReply reply;
  reply.description.bytes = bytes_;
  return reply;
}

}  // namespace mtd::task
