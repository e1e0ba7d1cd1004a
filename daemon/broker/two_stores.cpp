#include "daemon/broker/two_stores.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace mtd::broker {
namespace {

using namespace task;

// On operations that nobody but TwoStores has asked for.
constexpr std::uint64_t kOwnToken = ~std::uint64_t{0};

// The task of an operation that ends an attempt or is about one; 0: it is another.
TaskId attempted(const StoreOp& op) {
  if (const auto* finish = std::get_if<FinishOp>(&op.what)) return finish->id;
  if (const auto* requeue = std::get_if<RequeueOp>(&op.what)) return requeue->id;
  if (const auto* cancel = std::get_if<CancelOp>(&op.what)) return cancel->id;
  return {};
}

// Of a removal that names tasks of both.
std::vector<TaskId> take_if(std::vector<TaskId>& ids, const MemoryStore& memory) {
  std::vector<TaskId> taken;
  const auto rest =
      std::stable_partition(ids.begin(), ids.end(), [&](TaskId id) { return !memory.has(id); });
  taken.assign(rest, ids.end());
  ids.erase(rest, ids.end());
  return taken;
}

}  // namespace

// A task's operations name its own durability; but to revive one is asked for by its id alone.
bool TwoStores::is_of_memory(const StoreOp& op) const {
  if (const auto* revive = std::get_if<ReviveOp>(&op.what)) return memory_.has(revive->id);
  return op.durability == Durability::memory;
}

std::vector<StoreDone> TwoStores::submit(std::vector<StoreOp> ops) {
  const auto is_for_memory = [this](const StoreOp& op) {
    const auto* removal = std::get_if<RemoveOp>(&op.what);
    if (removal == nullptr) return is_of_memory(op);
    const auto& ids = removal->ids;
    return std::all_of(ids.begin(), ids.end(), [this](TaskId id) { return memory_.has(id); });
  };
  if (std::all_of(ops.begin(), ops.end(), is_for_memory)) return memory_.commit(std::move(ops));
  std::vector<StoreOp> on_disk, in_memory;
  std::vector<StoreDone> done;
  for (StoreOp& op : ops) {
    if (auto* removal = std::get_if<RemoveOp>(&op.what)) {
      std::vector<TaskId> ids = take_if(removal->ids, memory_);
      forget_later(removal->ids);
      if (removal->ids.empty()) {
        removal->ids = std::move(ids);
        in_memory.push_back(std::move(op));
        continue;
      }
      StoreOp other;
      other.what = RemoveOp{std::move(ids)};
      for (StoreDone& gone : memory_.commit({std::move(other)}))
        std::move(gone.files.begin(), gone.files.end(), std::back_inserter(files_));
    } else if (is_of_memory(op)) {
      in_memory.push_back(std::move(op));
      continue;
    } else if (auto claimed = claim(op)) {
      done.push_back(std::move(*claimed));
      continue;
    }
    if (takes_a_name_again(op)) forget_now(on_disk);
    if (const auto* revive = std::get_if<ReviveOp>(&op.what)) {
      forget_now(on_disk);  // perhaps this one
      ended_.erase(revive->id.value);
    }
    note_end(op);
    on_disk.push_back(std::move(op));
  }
  if (forgotten_.size() >= kForgottenTogether) forget_now(on_disk);
  if (auto put = put_at_once(on_disk)) done.push_back(std::move(*put));
  disk_->submit(std::move(on_disk));
  if (in_memory.empty()) return done;
  std::vector<StoreDone> more = memory_.commit(std::move(in_memory));
  std::move(more.begin(), more.end(), std::back_inserter(done));
  return done;
}

// What is alone, and small, need not be handed to the thread; then nothing is left of `ops`.
std::optional<StoreDone> TwoStores::put_at_once(std::vector<StoreOp>& ops) {
  if (ops.size() != 1) return std::nullopt;
  auto done = disk_->put_at_once(ops.front());
  if (!done) return std::nullopt;
  ops.clear();
  keep_bodies(*done);
  return done;
}

// ---- what clients want forgotten ----

// Takes those out of `ids` that may wait: of which it is known what a put of the same name is.
void TwoStores::forget_later(std::vector<TaskId>& ids) {
  const auto waits = [this](TaskId id) {
    const auto ended = ended_.find(id.value);
    if (ended == ended_.end()) return false;
    forgotten_.push_back(id);
    forgotten_names_.insert(std::move(ended->second));
    ended_.erase(ended);
    return true;
  };
  ids.erase(std::remove_if(ids.begin(), ids.end(), waits), ids.end());
}

// A task that is to be forgotten must not be taken for the one that is put now.
bool TwoStores::takes_a_name_again(const StoreOp& op) const {
  const auto* put = std::get_if<PutOp>(&op.what);
  if (put == nullptr || forgotten_.empty()) return false;
  return std::any_of(put->tasks.begin(), put->tasks.end(), [this](const NewTask& task) {
    return task.body && forgotten_names_.count(task.body->uid) != 0;
  });
}

void TwoStores::forget_now(std::vector<StoreOp>& ops) {
  if (forgotten_.empty()) return;
  StoreOp& op = ops.emplace_back();
  op.token = kOwnToken;
  op.durability = Durability::process;
  op.what = RemoveOp{std::exchange(forgotten_, {})};
  forgotten_names_.clear();
}

void TwoStores::forget_now() {
  std::vector<StoreOp> ops;
  forget_now(ops);
  disk_->submit(std::move(ops));
}

void TwoStores::note_ended(TaskId id, std::string uid) {
  if (ended_.size() >= kRememberedEnds) ended_.clear();  // the disk forgets those by themselves
  if (!uid.empty()) ended_[id.value] = std::move(uid);
}

TwoStores::~TwoStores() {
  if (disk_) forget_now();
}

// ---- claims ----

// The claim in the file, if the task can be begun without the store; nothing: the store has to.
std::optional<StoreDone> TwoStores::claim(StoreOp& op) {
  const auto* claim = std::get_if<ClaimOp>(&op.what);
  if (claim == nullptr) return std::nullopt;
  if (claim->only_one) {
    drop_body(claim->id);
    return std::nullopt;
  }
  const auto body = bodies_.find(claim->id.value);
  if (body == bodies_.end()) return std::nullopt;
  const auto place = claims_.add({claim->id.value, claim->worker.incarnation, claim->started.ns,
                                  claim->attempt, claim->worker.slot});
  if (!place) return std::nullopt;
  claimed_[claim->id.value] = {*claim, *place, false, body->second->uid};
  StoreDone done;
  done.body = std::move(body->second);
  body_bytes_ -= done.body->bytes();
  bodies_.erase(body);
  done.op = std::move(op);
  return done;
}

// What ends an attempt, or is about one, says that the store may not have heard of it.
void TwoStores::note_end(StoreOp& op) {
  const TaskId id = attempted(op);
  if (id.value == 0) return;
  op.claimed_apart = claimed_.count(id.value) != 0;
  if (std::holds_alternative<FinishOp>(op.what)) drop_body(id);
}

void TwoStores::drop_body(TaskId id) {
  const auto body = bodies_.find(id.value);
  if (body == bodies_.end()) return;
  body_bytes_ -= body->second->bytes();
  bodies_.erase(body);
}

void TwoStores::keep_bodies(const StoreDone& done) {
  const auto* put = std::get_if<PutOp>(&done.op.what);
  if (put == nullptr || done.status != StoreStatus::committed) return;
  for (std::size_t i = 0; i < put->tasks.size(); ++i) {
    const NewTask& task = put->tasks[i];
    if (!task.body || done.puts.at(i).existed != Existed::no) continue;
    const std::uint64_t bytes = task.body->bytes();
    if (body_bytes_ + bytes > kKeptBodies) continue;
    if (bodies_.emplace(task.facts.id.value, task.body).second) body_bytes_ += bytes;
  }
}

void TwoStores::end_claim(TaskId id, std::uint32_t attempt, bool is_final) {
  const auto claimed = claimed_.find(id.value);
  if (claimed == claimed_.end() || claimed->second.op.attempt > attempt) return;
  claims_.remove(claimed->second.place);
  if (is_final) note_ended(id, std::move(claimed->second.uid));
  claimed_.erase(claimed);
}

// What is asked is answered by the store: before that it hears who works on what.
void TwoStores::tell_claims(const StoreQuestion& question) {
  if (std::holds_alternative<RemoveTasks>(question)) return;
  if (std::holds_alternative<DescribeStore>(question)) return;
  const auto* one = std::get_if<FindTask>(&question);
  std::vector<StoreOp> ops;
  for (auto& [id, claimed] : claimed_) {
    if (claimed.on_disk || (one != nullptr && one->id.value != 0 && one->id.value != id)) continue;
    claimed.on_disk = true;
    StoreOp& op = ops.emplace_back();
    op.token = kOwnToken;
    op.durability = Durability::process;
    op.what = claimed.op;
  }
  disk_->submit(std::move(ops));
}

// False: nobody else has to know.
bool TwoStores::take_note(StoreDone& done) {
  keep_bodies(done);
  if (std::holds_alternative<RemoveOp>(done.op.what) && done.op.token != kOwnToken) {
    std::move(files_.begin(), files_.end(), std::back_inserter(done.files));
    files_.clear();
  }
  const bool over = done.status == StoreStatus::committed || done.status == StoreStatus::missing;
  if (const auto* finish = std::get_if<FinishOp>(&done.op.what); finish != nullptr && over) {
    // A result in a file is large: it is forgotten at once, when its client says so.
    const bool is_small = !finish->answer || finish->answer->file.empty();
    end_claim(finish->id, finish->attempt, is_small);
  }
  if (const auto* requeue = std::get_if<RequeueOp>(&done.op.what); requeue != nullptr && over)
    end_claim(requeue->id, requeue->attempt, false);
  if (done.op.token != kOwnToken) return true;
  const auto* claim = std::get_if<ClaimOp>(&done.op.what);
  if (claim == nullptr) return false;
  const auto claimed = claimed_.find(claim->id.value);
  if (claimed != claimed_.end() && !over) claimed->second.on_disk = false;
  return false;
}

void TwoStores::add_claims(StoreContents& contents) {
  std::unordered_map<std::uint64_t, TaskFacts*> live;
  if (!claims_.left().empty()) {
    for (auto& [pool, recovered] : contents.pools) {
      for (TaskFacts& facts : recovered.tasks)
        live.emplace(facts.id.value, &facts);
    }
  }
  std::set<std::uint32_t> kept;
  for (const auto& [place, left] : claims_.left()) {
    const auto found = live.find(left.task);
    if (found == live.end()) continue;
    TaskFacts& facts = *found->second;
    if (facts.state == TaskState::running || facts.counters.attempts + 1 != left.attempt) continue;
    facts.state = TaskState::running;
    facts.counters.attempts = left.attempt;
    facts.worker = {left.slot, left.incarnation};
    facts.started.ns = left.started_ns;
    ClaimOp op{facts.id, left.attempt, facts.worker, facts.started, false};
    claimed_[left.task] = {op, place, false, {}};
    kept.insert(place);
  }
  claims_.keep(kept);
}

std::optional<StoreReply> TwoStores::ask(std::uint64_t token, StoreQuestion question) {
  forget_now();
  if (const auto* one = std::get_if<FindTask>(&question)) {
    StoreReply reply = memory_.answer(question);
    if (!reply.tasks.empty()) return reply;
    tell_claims(question);
    disk_->ask(token, *one);
    return std::nullopt;
  }
  tell_claims(question);
  if (!std::holds_alternative<DescribeStore>(question)) asked_.emplace(token, question);
  disk_->ask(token, std::move(question));
  return std::nullopt;
}

void TwoStores::add_memory(const StoreQuestion& question, StoreReply& reply) {
  StoreReply more = memory_.answer(question);
  reply.removed += more.removed;
  std::move(more.files.begin(), more.files.end(), std::back_inserter(reply.files));
  for (std::size_t i = 0; i < std::size(reply.counts.by_state); ++i)
    reply.counts.by_state[i] += more.counts.by_state[i];
  const auto* list = std::get_if<ListTasks>(&question);
  if (list == nullptr) return;
  std::move(more.tasks.begin(), more.tasks.end(), std::back_inserter(reply.tasks));
  std::stable_sort(
      reply.tasks.begin(), reply.tasks.end(),
      [](const FoundTask& a, const FoundTask& b) { return a.row.facts.id < b.row.facts.id; });
  if (reply.tasks.size() > list->filter.limit) reply.tasks.resize(list->filter.limit);
}

std::vector<StoreOutput> TwoStores::take() {
  std::vector<StoreOutput> output = disk_->take();
  const auto own = std::remove_if(output.begin(), output.end(), [this](StoreOutput& one) {
    auto* done = std::get_if<StoreDone>(&one);
    return done != nullptr && !take_note(*done);
  });
  output.erase(own, output.end());
  for (StoreOutput& one : output) {
    auto* replied = std::get_if<StoreReplied>(&one);
    if (replied == nullptr) continue;
    const auto question = asked_.find(replied->token);
    if (question == asked_.end()) continue;
    add_memory(question->second, replied->reply);
    asked_.erase(question);
  }
  return output;
}

}  // namespace mtd::broker
