// The part of PoolRunner that remembers: what changed is put into the state before anything of it
// is seen outside, and a new life goes on from there with what the keeper has.
#include <algorithm>
#include <csignal>
#include <utility>

#include "daemon/supervisor/model/memory.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kCrashChunks = model::kMaxCrashEntries / kCrashesARecord;
// A ring of places that always holds the last kMaxExitRecords ends.
constexpr std::size_t kExitChunks =
    (model::kMaxExitRecords + 2 * kExitsARecord - 2) / kExitsARecord;

// A piece of UTF-8 that is not cut within a character.
std::string stored_status(const std::string& status) {
  if (status.size() <= kMaxStoredStatus) return status;
  std::size_t size = kMaxStoredStatus;
  while (size > 0 && (static_cast<unsigned char>(status[size]) & 0xc0U) == 0x80U)
    --size;
  return status.substr(0, size);
}

}  // namespace

model::PoolMemory PoolRunner::memory_of(const StateStore::Pool& remembered,
                                        const OlderSpecs& older) {
  model::PoolMemory memory = remembered.record.memory;
  const ChangeRecord& changes = remembered.changes;
  const auto revision = [&](const ChangeRecord::Known& known) -> std::optional<model::Revision> {
    auto spec = known.number == 0 ? nullptr : older.find(remembered.record.name, known.fingerprint);
    if (!spec) return std::nullopt;
    return model::Revision{known.number, std::move(spec)};
  };
  memory.previous = revision(changes.previous);
  if (auto failed = revision(changes.failed)) {
    memory.failed =
        model::FailedRevision{std::move(*failed), changes.failed_slot, changes.failed_exit};
  }
  memory.rollout.paused = changes.paused;
  memory.rollout.back = changes.back;
  memory.rollout.settling = changes.settling;
  memory.held_back = changes.held_back;
  memory.stop_due = changes.stop_due;
  memory.enabled = changes.enabled;
  for (const auto& [number, slot] : remembered.slots)
    memory.slots[number] = slot.memory;
  return memory;
}

void PoolRunner::take_over(StateStore::Pool remembered) {
  enabled_ = remembered.changes.enabled;
  for (const auto& [number, slot] : remembered.slots) {
    if (!slot.facts.empty()) exits_[number].assign(slot.facts.begin(), slot.facts.end());
    if (slot.is_known) closed_[number] = slot.memory.slot.incarnation;
    for (const auto& process : slot.memory.slot.processes) {
      const model::WorkerKey key{number, process.incarnation};
      remembered_.push_back(key);
      const auto status = slot.statuses.find(process.incarnation);
      if (status != slot.statuses.end()) statuses_[key] = status->second;
    }
  }
  in_state_ = std::move(remembered.slots);
}

void PoolRunner::save_everything() {
  in_state_.clear();  // it is another state
  save_pool();
  for (const auto& entry : model_.memory().slots) {
    save_slot(entry.first);
    save_exits(entry.first);
  }
  const std::uint64_t end = model_.crashes().first_number() + model_.crashes().entries().size();
  for (std::uint64_t at = model_.crashes().first_number(); at < end; at += kCrashesARecord)
    save_crashes(at);
  if (end > 0) save_crashes(end - 1);
}

void PoolRunner::save_pool() {
  PoolRecord record = record_;
  record.memory = model_.memory_without_slots();
  record.revision = revision_;
  record.removing = removing_;
  const auto& crashes = model_.crashes();
  record.crashes_begin = crashes.first_number();
  record.crashes = static_cast<std::uint32_t>(crashes.entries().size());
  const std::uint32_t newest = record.crashes == 0 ? 0 : crashes.entries().back().crashes;
  const std::uint64_t end = record.crashes_begin + record.crashes;
  if (record.crashes > 0 && (end != crashes_saved_ || newest != newest_saved_))
    save_crashes(end - 1);
  crashes_saved_ = end;
  newest_saved_ = newest;
  save_changes(record.memory);
  if (record == record_ && is_saved_) return;
  is_saved_ = true;
  record_ = std::move(record);
  services_.state.put(record_);
}

void PoolRunner::save_changes(const model::PoolMemory& memory) {
  const auto known = [](const model::Revision& revision) {
    return ChangeRecord::Known{revision.number, revision.spec->spawn_fingerprint};
  };
  ChangeRecord changes;
  changes.pool = id_;
  changes.newest = newest_revision_;
  if (memory.previous) changes.previous = known(*memory.previous);
  if (memory.failed) {
    changes.failed = known(memory.failed->revision);
    changes.failed_slot = memory.failed->slot;
    changes.failed_exit = memory.failed->exit;
  }
  changes.paused = memory.rollout.paused;
  changes.back = memory.rollout.back;
  changes.settling = memory.rollout.settling;
  changes.held_back = memory.held_back;
  changes.stop_due = memory.stop_due;
  changes.enabled = enabled_;
  if (changes == changes_ && is_saved_) return;
  changes_ = changes;
  services_.state.put(changes_);
}

// The record that holds the entry of this number.
void PoolRunner::save_crashes(std::uint64_t number) {
  const auto& crashes = model_.crashes();
  CrashRecord record;
  record.pool = id_;
  const std::uint64_t part = number / kCrashesARecord;
  record.chunk = static_cast<std::uint32_t>(part % kCrashChunks);
  record.first = std::max(part * kCrashesARecord, crashes.first_number());
  const std::uint64_t end = crashes.first_number() + crashes.entries().size();
  for (std::uint64_t at = record.first; at < std::min(end, (part + 1) * kCrashesARecord); ++at)
    record.entries.push_back(crashes.entries()[at - crashes.first_number()]);
  services_.state.put(record);
}

void PoolRunner::save_slot(std::uint32_t slot) {
  SlotRecord record;
  record.pool = id_;
  record.slot = slot;
  record.memory = model_.slot_memory(slot);
  // A take-over looks at all slots and changes few of them.
  if (const auto saved = in_state_.find(slot); saved != in_state_.end()) {
    if (saved->second.is_known && saved->second.memory == record.memory) return;
    in_state_.erase(saved);
  }
  for (auto& process : record.memory.slot.processes) {
    ProcessRecord one;
    one.pool = id_;
    one.slot = slot;
    one.process = process;
    const auto worker = workers_.find({slot, process.incarnation});
    if (worker != workers_.end()) one.status = stored_status(worker->second.status_text);
    services_.state.put(one);
  }
  record.memory.slot.processes.clear();
  record.memory.slot.exits.clear();
  services_.state.put(record);
}

// The ends that are kept, in the records that hold the newest of them first.
void PoolRunner::save_exits(std::uint32_t slot) {
  const auto memory = model_.slot_memory(slot);
  const auto& exits = memory.slot.exits;
  const std::uint64_t end = memory.slot.exits_told;
  const std::uint64_t begin = end - std::min<std::uint64_t>(end, exits.size());
  std::uint64_t& saved = exits_saved_[slot];
  for (std::uint64_t part = std::max(begin, saved) / kExitsARecord; part * kExitsARecord < end;
       ++part) {
    ExitsRecord record;
    record.pool = id_;
    record.slot = slot;
    record.chunk = static_cast<std::uint32_t>(part % kExitChunks);
    record.first = std::max(part * kExitsARecord, begin);
    for (std::uint64_t at = record.first; at < std::min(end, (part + 1) * kExitsARecord); ++at) {
      ExitsRecord::End one;
      one.exit = exits[end - 1 - at];
      one.facts = facts_of(slot, one.exit.incarnation);
      record.ends.push_back(one);
    }
    services_.state.put(record);
  }
  saved = end;
}

ExitFacts PoolRunner::facts_of(std::uint32_t slot, std::uint64_t incarnation) const {
  if (const auto* exits = this->exits(slot)) {
    for (const auto& facts : *exits) {
      if (facts.incarnation == incarnation) return facts;
    }
  }
  ExitFacts none;
  none.incarnation = incarnation;
  return none;
}

// Told before, and closed: such an entry waits for its release only.
bool PoolRunner::is_closed(const model::WorkerKey& key) const {
  const auto closed = closed_.find(key.slot);
  return !model_.knows(key) && closed != closed_.end() && key.incarnation <= closed->second;
}

void PoolRunner::adopt(const keeper::Entry& entry) {
  adopting_ = true;
  const model::WorkerKey key{entry.key.slot, entry.key.incarnation};
  const bool ended =
      entry.state == keeper::EntryState::failed || entry.state == keeper::EntryState::exited;
  if (key.slot >= kMaxStateSlots || (ended && is_closed(key))) return;  // released later
  const bool known = model_.knows(key);
  const WorkerLabel label = decode_label(entry.label);
  auto& record = workers_[key];
  record.keeper_revision = entry.revision;
  if (label.revision != revision_)
    keeper_revisions_[label.revision] = {entry.revision, label.fingerprint};
  if (entry.state == keeper::EntryState::failed) {
    if (!known) workers_.erase(key);  // there never was a process, and nobody waits for one
    return;
  }
  const bool exited = entry.state == keeper::EntryState::exited;
  const model::Stage stage = model_.stage_of(key);
  record.pid = entry.pid;
  record.has_directory = record.in_cgroup = entry.in_cgroup != 0;
  // What the model has not heard is told when the entry is looked at.
  record.told_spawned = !known || stage != model::Stage::requested;
  record.told_executed = known ? stage > model::Stage::launching : entry.executed != 0;
  record.told_end = known && exited && stage == model::Stage::ended;
  record.started_realtime_ns =
      sys::realtime_ns() - sys::now().since(Instant::at_ns(entry.started_ns)).count_ns();
  const auto status = statuses_.find(key);
  if (status != statuses_.end()) record.status_text = status->second;
  if (!exited || !record.told_end) services_.pids[entry.pid] = entry.key;

  // A CONT follows each stop signal, and is then the last one the keeper knows of.
  const int in_step = model_.stop_signal_of(key);
  const int stop_signal =
      in_step != 0 ? in_step : model::step_of(model_.spec().stop, 0).signal.value;
  const auto is_stop = [&](const keeper::SentSignal& sent) {
    return sent.times > 0 && (sent.signal == stop_signal || sent.signal == SIGKILL ||
                              (known && sent.signal == SIGCONT));
  };
  model::Adopted adopted;
  adopted.key = key;
  adopted.revision = label.revision;
  adopted.pid = entry.pid;
  adopted.executed = entry.executed != 0;
  // Nobody would say READY=1 a second time: a worker of whom nothing is remembered counts as ready.
  adopted.was_ready = entry.executed != 0;
  adopted.started = Instant::at_ns(entry.started_ns);
  adopted.stop_sent = is_stop(entry.first_sent) || is_stop(entry.last_sent);
  adopted.exited = exited;
  adopted.fingerprint = label.fingerprint;
  adopted.task_limit = label.task_limit;
  if (model_.spec().tasks.has_queue())
    services_.tasks.adopt_worker(entry.key, label.task_limit, record.told_end);
  queue(adopted);
}

// After the last adopt() and the first thing that was told: the state holds what is, and no more.
void PoolRunner::forget_vanished() {
  for (const auto& key : std::exchange(remembered_, {})) {
    if (!model_.knows(key)) services_.state.forget_process(id_, key.slot, key.incarnation);
  }
  forget_unused_revisions();
  statuses_.clear();
  closed_.clear();
  in_state_.clear();
}

}  // namespace mtd::supervisor
