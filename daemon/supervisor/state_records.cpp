#include "daemon/supervisor/state_records.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/names.h"
#include "daemon/supervisor/record_bytes.h"

namespace mtd::supervisor {
namespace {

using namespace model;

constexpr std::string_view kMagic = "mtdstate";
constexpr std::size_t kVersionAt = 8, kCopyBytesAt = 12, kHeaderSumAt = 16;
// checksum | transaction | kind | payload size | payload
constexpr std::size_t kTransactionAt = 8, kKindAt = 16, kSizeAt = 18, kPayloadAt = 24;
constexpr std::size_t kMostDamageTold = 8;

// The order of the records' kinds is that of StateRecord; it is part of the format.
constexpr std::size_t kPoolStates = static_cast<std::size_t>(PoolState::frozen) + 1;
constexpr std::size_t kPhases = static_cast<std::size_t>(EmptyingPhase::kept) + 1;
constexpr std::size_t kRestraints = static_cast<std::size_t>(Restraint::memory) + 1;
constexpr std::size_t kActivities = static_cast<std::size_t>(Activity::busy) + 1;
constexpr std::size_t kReplacings = static_cast<std::size_t>(Replacing::restart) + 1;

template <class A, class T, class Each>
void maybe(A& archive, std::optional<T>& value, Each&& each) {
  bool is_there = value.has_value();
  archive.flag(is_there);
  T content = value.value_or(T{});
  each(content);
  if (is_there) {
    value = content;
  } else {
    value.reset();
  }
}

// Which alternative a variant holds, then its members: alternatives are made here when reading.
template <class A, class V, std::size_t... I>
void alternative(A& archive, V& variant, std::index_sequence<I...>) {
  auto index = static_cast<std::uint8_t>(variant.index());
  archive.number(index);
  if (index >= sizeof...(I)) {
    archive.spoil();
    return;
  }
  if constexpr (A::kReads) {
    ((I == index ? static_cast<void>(variant.template emplace<I>()) : static_cast<void>(0)), ...);
  }
}
template <class A, class V>
void alternative(A& archive, V& variant) {
  alternative(archive, variant, std::make_index_sequence<std::variant_size_v<V>>());
}

template <class A>
void members(A&, FreeRecord&) {}

template <class A>
void members(A& archive, DaemonRecord& record) {
  archive.number(record.config_revision);
  archive.number(record.next_pool_id);
  archive.choice(record.ending, 3);
  archive.number(record.attempts);
  archive.number(record.event_number);
  archive.number(record.places);
  archive.flag(record.reloading);
  archive.number(record.exit_code);
}

template <class A>
void members(A& archive, Breaker& breaker) {
  alternative(archive, breaker);
  auto* open = std::get_if<BreakerOpen>(&breaker);
  Instant retry_at = open != nullptr ? open->retry_at : Instant();
  archive.instant(retry_at);
  if (open != nullptr) open->retry_at = retry_at;
  auto* half = std::get_if<BreakerHalfOpen>(&breaker);
  std::optional<std::uint32_t> probe;
  if (half != nullptr) probe = half->probe;
  maybe(archive, probe, [&](std::uint32_t& slot) { archive.number(slot); });
  if (half != nullptr) half->probe = probe;
}

template <class A>
void members(A& archive, PoolRecord& record) {
  archive.number(record.id);
  archive.text(record.name, kMaxNameLength);
  archive.number(record.revision);
  archive.number(record.stopped_by);
  archive.flag(record.removing);
  PoolMemory& memory = record.memory;
  archive.number(memory.fingerprint);
  maybe(archive, memory.want, [&](std::uint32_t& want) { archive.number(want); });
  archive.flag(memory.stopped);
  archive.flag(memory.was_full);
  maybe(archive, memory.frozen_since, [&](Instant& at) { archive.instant(at); });
  members(archive, memory.breaker);
  archive.number(record.crashes_begin);
  archive.number(record.crashes);
  archive.flag(memory.rollout.active);
  archive.flag(memory.rollout.proven);
  archive.flag(memory.rollout.failed);
  archive.number(memory.rollout.failures);
  archive.number(memory.restarts);
  archive.number(memory.recycled);
  archive.number(memory.spawn_failures);
  archive.number(memory.stale_facts);
  archive.choice(memory.shown, kPoolStates);
  maybe(archive, memory.shown_since, [&](Instant& at) { archive.instant(at); });
  maybe(archive, memory.scaling, [&](Scaling& scaling) {
    archive.number(scaling.granted);
    archive.number(scaling.claimed);
    archive.choice(scaling.restraint, kRestraints);
    archive.flag(scaling.demanded);
    archive.instant(scaling.until);
    archive.number(scaling.peak);
  });
}

template <class A, class T, class Each>
void list(A& archive, std::vector<T>& values, std::size_t most, Each&& each) {
  auto size = static_cast<std::uint8_t>(values.size());
  archive.number(size);
  if (size > most) {
    archive.spoil();
    return;
  }
  values.resize(size);
  for (T& value : values)
    each(value);
}

template <class A>
void members(A& archive, CrashRecord& record) {
  archive.number(record.pool);
  archive.number(record.chunk);
  archive.number(record.first);
  list(archive, record.entries, kCrashesARecord, [&](CrashWindow::Entry& entry) {
    archive.instant(entry.first);
    archive.number(entry.crashes);
  });
}

template <class A>
void members(A& archive, SlotRecord& record) {
  archive.number(record.pool);
  archive.number(record.slot);
  Slot& slot = record.memory.slot;
  alternative(archive, slot.rest);
  auto* waits = std::get_if<BackingOff>(&slot.rest);
  Instant until = waits != nullptr ? waits->until : Instant();
  archive.instant(until);
  if (waits != nullptr) waits->until = until;
  archive.choice(slot.replacing, kReplacings);
  archive.flag(record.memory.recycle);
  archive.flag(record.memory.reload);
  archive.flag(record.memory.restart);
  archive.number(slot.crash_streak);
  archive.number(slot.spawn_streak);
  archive.number(slot.incarnation);
  archive.number(slot.restarts);
  archive.number(slot.recycled);
  archive.number(slot.spawn_failures);
  archive.number(slot.exits_told);
}

// What a process's state holds, of whichever state: each of these once.
struct StateMembers {
  std::optional<ExitCause> cause;
  Instant at;  // deadline, or since when
  EmptyingPhase phase{};
  std::uint8_t step = 0;
  bool drain = false;
};
StateMembers members_of(const ProcessState& state) {
  StateMembers all;
  if (const auto* requested = std::get_if<Requested>(&state)) all.cause = requested->cancelled;
  if (const auto* launching = std::get_if<Launching>(&state)) all.at = launching->deadline;
  if (const auto* warming = std::get_if<Warming>(&state)) all.at = warming->deadline;
  if (const auto* up = std::get_if<Up>(&state)) all.at = up->since;
  if (const auto* unready = std::get_if<Unready>(&state)) all.at = unready->since;
  if (const auto* draining = std::get_if<Draining>(&state))
    all = {draining->cause, draining->deadline, {}, 0, false};
  if (const auto* stopping = std::get_if<model::Stopping>(&state))
    all = {stopping->cause, stopping->deadline, {}, stopping->step, stopping->drain};
  if (const auto* killing = std::get_if<Killing>(&state))
    all = {killing->cause, killing->deadline, {}, 0, false};
  if (const auto* stuck = std::get_if<Stuck>(&state)) all.cause = stuck->cause;
  if (const auto* emptying = std::get_if<Emptying>(&state))
    all = {emptying->cause, emptying->deadline, emptying->phase, 0, false};
  return all;
}
void give(ProcessState& state, const StateMembers& all) {
  const ExitCause cause = all.cause.value_or(ExitCause::unknown);
  if (auto* requested = std::get_if<Requested>(&state)) requested->cancelled = all.cause;
  if (auto* launching = std::get_if<Launching>(&state)) launching->deadline = all.at;
  if (auto* warming = std::get_if<Warming>(&state)) warming->deadline = all.at;
  if (auto* up = std::get_if<Up>(&state)) up->since = all.at;
  if (auto* unready = std::get_if<Unready>(&state)) unready->since = all.at;
  if (auto* draining = std::get_if<Draining>(&state)) *draining = {cause, all.at};
  if (auto* stopping = std::get_if<model::Stopping>(&state))
    *stopping = {cause, all.at, all.step, all.drain};
  if (auto* killing = std::get_if<Killing>(&state)) *killing = {cause, all.at};
  if (auto* stuck = std::get_if<Stuck>(&state)) stuck->cause = cause;
  if (auto* emptying = std::get_if<Emptying>(&state)) *emptying = {all.phase, cause, all.at};
}

template <class A>
void duration(A& archive, Duration& value) {
  std::int64_t ns = value.count_ns();
  archive.number(ns);
  if (ns < 0) archive.spoil();
  value = Duration::nanoseconds(ns);
}

template <class A>
void members(A& archive, ProbeTurn& turn) {
  archive.instant(turn.at);
  archive.flag(turn.under_way);
  archive.number(turn.failures);
}

template <class A>
void members(A& archive, ProcessRecord& record) {
  archive.number(record.pool);
  archive.number(record.slot);
  Process& process = record.process;
  archive.number(process.incarnation);
  archive.number(process.revision);
  archive.number(process.fingerprint);
  archive.instant(process.started);
  archive.number(process.tasks);
  archive.number(process.task_limit);
  archive.number(process.pid);
  archive.flag(process.frozen);
  alternative(archive, process.state);
  StateMembers state = members_of(process.state);
  maybe(archive, state.cause, [&](ExitCause& cause) { archive.choice(cause, kExitCauses); });
  archive.instant(state.at);
  archive.choice(state.phase, kPhases);
  archive.text(record.status, A::kReads ? kMaxReadStatus : kMaxStoredStatus);
  Limits& limits = process.limits;
  archive.number(limits.rss);
  archive.flag(limits.rss_exceeded);
  archive.instant(limits.expires);
  duration(archive, limits.idle);
  archive.instant(limits.idle_until);
  Watch& watch = process.watch;
  duration(archive, watch.alive_every);
  archive.instant(watch.alive_until);
  members(archive, watch.live);
  members(archive, watch.ready);
  archive.number(state.step);
  archive.flag(state.drain);
  archive.choice(process.activity, kActivities);
  if constexpr (A::kReads) give(process.state, state);
}

template <class A>
void members(A& archive, ExitRecord& exit) {
  archive.choice(exit.cause, kExitCauses);
  archive.flag(exit.planned);
  archive.number(exit.wait_status);
  archive.number(exit.stage);
  archive.number(exit.error);
  archive.number(exit.pid);
  archive.number(exit.incarnation);
  archive.instant(exit.at);
}

template <class A>
void members(A& archive, ChangeRecord& record) {
  archive.number(record.pool);
  archive.number(record.newest);
  for (ChangeRecord::Known* known : {&record.previous, &record.failed}) {
    archive.number(known->number);
    archive.number(known->fingerprint);
  }
  archive.number(record.failed_slot);
  members(archive, record.failed_exit);
  archive.flag(record.paused);
  archive.flag(record.back);
  archive.flag(record.settling);
  archive.flag(record.held_back);
  maybe(archive, record.stop_due, [&](StopManner& manner) { archive.choice(manner, 3); });
  maybe(archive, record.enabled, [&](bool& enabled) { archive.flag(enabled); });
}

template <class A>
void members(A& archive, ExitsRecord& record) {
  archive.number(record.pool);
  archive.number(record.slot);
  archive.number(record.chunk);
  archive.number(record.first);
  list(archive, record.ends, kExitsARecord, [&](ExitsRecord::End& end) {
    members(archive, end.exit);
    archive.number(end.facts.at_realtime_ns);
    archive.number(end.facts.user_cpu_us);
    archive.number(end.facts.system_cpu_us);
    auto rss = static_cast<std::uint32_t>(std::clamp<std::int64_t>(end.facts.max_rss_kib, 0, ~0U));
    archive.number(rss);
    end.facts.max_rss_kib = rss;
    end.facts.incarnation = end.exit.incarnation;
  });
}

bool is_sound(const StateRecord& record) {
  if (const auto* pool = std::get_if<PoolRecord>(&record)) {
    return pool->id != 0 && is_valid_name(pool->name) && pool->crashes <= kMaxCrashEntries;
  }
  if (const auto* slot = std::get_if<SlotRecord>(&record)) return slot->slot < kMaxStateSlots;
  if (const auto* process = std::get_if<ProcessRecord>(&record)) {
    return process->slot < kMaxStateSlots && process->process.incarnation != 0 &&
           process->process.pid >= 0;
  }
  if (const auto* exits = std::get_if<ExitsRecord>(&record)) return exits->slot < kMaxStateSlots;
  return true;
}

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

bool is_blank(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == '\0'; });
}

template <std::size_t... I>
StateRecord make_record(std::size_t kind, std::index_sequence<I...>) {
  StateRecord record;
  ((I == kind ? static_cast<void>(record.emplace<I>()) : static_cast<void>(0)), ...);
  return record;
}

// The newest copy that counts.
class PlaceReader {
 public:
  PlaceReader(std::string_view bytes, std::size_t copy_bytes) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (bytes.size() < i * copy_bytes) break;
      const std::string_view copy = bytes.substr(i * copy_bytes, copy_bytes);
      copies_[i] = copy.size() == copy_bytes ? decode_copy(copy) : std::nullopt;
      blank_[i] = is_blank(copy);
    }
  }
  [[nodiscard]] bool is_damaged() const {
    return !copies_[0] && !copies_[1] && !(blank_[0] && blank_[1]);
  }
  DecodedPlace take(std::uint64_t last) {
    DecodedPlace place;
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!copies_[i]) continue;
      if (copies_[i]->transaction > last) {
        place.stale_other = true;
        place.copy = static_cast<int>(1 - i);
      } else if (!best || copies_[i]->transaction > copies_[*best]->transaction) {
        best = i;
      }
    }
    if (best) {
      place.copy = static_cast<int>(*best);
      if (copies_[*best]->known) place.record = std::move(copies_[*best]->record);
    }
    return place;
  }
  [[nodiscard]] std::optional<std::uint64_t> commit() const {
    std::optional<std::uint64_t> last;
    for (const auto& copy : copies_) {
      if (copy && std::holds_alternative<DaemonRecord>(copy->record))
        last = std::max(last.value_or(0), copy->transaction);
    }
    return last;
  }

 private:
  std::array<std::optional<DecodedCopy>, 2> copies_;
  std::array<bool, 2> blank_{true, true};
};

}  // namespace

std::string encode_header() {
  std::string bytes(kStateHeaderBytes, '\0');
  const auto copy_bytes = static_cast<std::uint32_t>(kRecordCopyBytes);
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  std::memcpy(bytes.data() + kVersionAt, &kStateVersion, sizeof(kStateVersion));
  std::memcpy(bytes.data() + kCopyBytesAt, &copy_bytes, sizeof(copy_bytes));
  const std::uint64_t sum = checksum_of(std::string_view(bytes).substr(0, kHeaderSumAt));
  std::memcpy(bytes.data() + kHeaderSumAt, &sum, sizeof(sum));
  return bytes;
}

RecordCopy encode_record(const StateRecord& record, std::uint64_t transaction) {
  RecordCopy bytes{};
  RecordWriter writer(bytes.data() + kPayloadAt, bytes.size() - kPayloadAt);
  std::visit(
      [&](const auto& value) {
        // One description serves reading and writing; a writer changes nothing.
        members(writer,
                const_cast<std::remove_const_t<std::remove_reference_t<decltype(value)>>&>(value));
      },
      record);
  const auto kind = static_cast<std::uint16_t>(record.index());
  const auto size = static_cast<std::uint16_t>(std::min(writer.size(), bytes.size() - kPayloadAt));
  std::memcpy(bytes.data() + kTransactionAt, &transaction, sizeof(transaction));
  std::memcpy(bytes.data() + kKindAt, &kind, sizeof(kind));
  std::memcpy(bytes.data() + kSizeAt, &size, sizeof(size));
  const std::uint64_t sum = checksum_of({bytes.data() + kTransactionAt, bytes.size() - 8});
  std::memcpy(bytes.data(), &sum, sizeof(sum));
  return bytes;
}

std::optional<DecodedCopy> decode_copy(std::string_view bytes) {
  if (bytes.size() < kPayloadAt) return std::nullopt;
  if (number_at<std::uint64_t>(bytes, 0) != checksum_of(bytes.substr(kTransactionAt)))
    return std::nullopt;
  DecodedCopy copy;
  copy.transaction = number_at<std::uint64_t>(bytes, kTransactionAt);
  const auto kind = number_at<std::uint16_t>(bytes, kKindAt);
  const auto size = number_at<std::uint16_t>(bytes, kSizeAt);
  if (size > bytes.size() - kPayloadAt) return std::nullopt;
  if (kind >= std::variant_size_v<StateRecord>) {
    copy.known = false;
    return copy;
  }
  copy.record = make_record(kind, std::make_index_sequence<std::variant_size_v<StateRecord>>());
  RecordReader reader(bytes.substr(kPayloadAt, size));
  std::visit([&](auto& record) { members(reader, record); }, copy.record);
  if (reader.is_bad() || !is_sound(copy.record)) return std::nullopt;
  return copy;
}

DecodedState decode_state(std::string_view bytes) {
  DecodedState state;
  const auto damaged = [&](const std::string& what) {
    ++state.damaged_places;
    if (state.damage.size() < kMostDamageTold) state.damage.push_back(what);
  };
  if (bytes.size() < kStateHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic ||
      number_at<std::uint64_t>(bytes, kHeaderSumAt) != checksum_of(bytes.substr(0, kHeaderSumAt))) {
    damaged("it does not begin with the header of a state");
    return state;
  }
  state.version = number_at<std::uint32_t>(bytes, kVersionAt);
  state.copy_bytes = number_at<std::uint32_t>(bytes, kCopyBytesAt);
  if (state.copy_bytes < 64 || state.copy_bytes > kMaxRecordCopyBytes ||
      state.copy_bytes % 8 != 0) {
    damaged("the size of a record, " + std::to_string(state.copy_bytes) + ", cannot be");
    return state;
  }
  bytes.remove_prefix(kStateHeaderBytes);
  const std::size_t place_bytes = 2 * state.copy_bytes;
  const auto last = PlaceReader(bytes.substr(0, place_bytes), state.copy_bytes).commit();
  if (!last) damaged("the record that says what counts is damaged");
  state.transaction = last.value_or(~std::uint64_t{0});
  for (std::size_t at = 0; at < bytes.size(); at += place_bytes) {
    PlaceReader place(bytes.substr(at, place_bytes), state.copy_bytes);
    const bool first = at == 0;
    if (place.is_damaged() && !(first && !last)) {
      damaged("record " + std::to_string(at / place_bytes) + " is damaged");
    }
    state.places.push_back(place.take(state.transaction));
  }
  const auto* daemon =
      state.places.empty() ? nullptr : std::get_if<DaemonRecord>(&state.places.front().record);
  if (daemon != nullptr && daemon->places > state.places.size()) {
    damaged("it ends after " + std::to_string(state.places.size()) + " of " +
            std::to_string(daemon->places) + " records");
  }
  return state;
}

}  // namespace mtd::supervisor
