#include "daemon/broker/model/vocabulary.h"

#include <array>

namespace mtd::task {
namespace {

// The rows stand in the order of the enumerators, which a unit test checks: a lookup is an index.
constexpr std::array kStates{
    Word<TaskState>{TaskState::scheduled, "scheduled", "waits for its time"},
    Word<TaskState>{TaskState::waiting, "waiting", "waits for a worker"},
    Word<TaskState>{TaskState::running, "running", "a worker has it"},
    Word<TaskState>{TaskState::done, "done", "a worker has done it"},
    Word<TaskState>{TaskState::dead, "dead", "given up; mtctl task retry runs it again"},
    Word<TaskState>{TaskState::cancelled, "cancelled", "taken back by somebody"},
    Word<TaskState>{TaskState::expired, "expired", "not begun in time"},
};

constexpr std::array kReasons{
    Word<Reason>{Reason::none, "", "nothing went wrong"},
    Word<Reason>{Reason::failed, "failure", "the worker said that it failed"},
    Word<Reason>{Reason::no_retry, "no_retry", "the worker said that no attempt will succeed"},
    Word<Reason>{Reason::timeout, "timeout", "an attempt took longer than its time-out"},
    Word<Reason>{Reason::crashed, "crash", "the worker died"},
    Word<Reason>{Reason::interrupted, "interrupted", "mtd ended the worker, or was ended itself"},
    Word<Reason>{Reason::user, "user", "cancelled by a command"},
    Word<Reason>{Reason::detached, "detached", "cancelled because its client had gone"},
    Word<Reason>{Reason::expired, "expired", "not begun in time"},
    Word<Reason>{Reason::result_too_big, "too_big", "its result is too large to be kept"},
};

constexpr std::array kOutcomes{
    Word<AttemptOutcome>{AttemptOutcome::done, "done", "the worker has done it"},
    Word<AttemptOutcome>{AttemptOutcome::failed, "failed", "the worker said that it failed"},
    Word<AttemptOutcome>{AttemptOutcome::timeout, "timeout", "it took too long"},
    Word<AttemptOutcome>{AttemptOutcome::crashed, "crashed", "the worker died"},
    Word<AttemptOutcome>{AttemptOutcome::cancelled, "cancelled", "it was taken back"},
    Word<AttemptOutcome>{AttemptOutcome::interrupted, "interrupted",
                         "mtd ended the worker, or was ended itself"},
    Word<AttemptOutcome>{AttemptOutcome::given_back, "given_back",
                         "the worker died before it heard of the task"},
};

constexpr std::array kDeaths{
    Word<DeathCause>{DeathCause::vanished, "vanished", "not known"},
    Word<DeathCause>{DeathCause::exit, "exit", "the program ended by itself"},
    Word<DeathCause>{DeathCause::signal, "signal", "killed by a signal that mtd did not send"},
    Word<DeathCause>{DeathCause::oom, "oom", "killed because memory ran out"},
    Word<DeathCause>{DeathCause::protocol, "protocol", "killed for what it sent"},
    Word<DeathCause>{DeathCause::stopped, "stopped", "ended by mtd"},
};

constexpr std::array kDurabilities{
    Word<Durability>{Durability::fsync, "fsync", "an accepted task survives a loss of power"},
    Word<Durability>{Durability::process, "process", "… survives kill -9 of all of mtd"},
    Word<Durability>{Durability::memory, "memory", "… is gone with mtd's broker"},
};

constexpr std::array kRefusals{
    Word<Refusal>{Refusal::queue_full, "QueueFull", "the queue is full"},
    Word<Refusal>{Refusal::too_many_waiting, "QueueFull",
                  "the queue is full, and too many wait for room in it"},
    Word<Refusal>{Refusal::too_large, "TooBig", "this is larger than the whole queue"},
    Word<Refusal>{Refusal::closed, "NotAccepting", "the queue accepts nothing until it is resumed"},
    Word<Refusal>{Refusal::store_full, "StoreFull", "there is no room for it on disk"},
    Word<Refusal>{Refusal::store_failed, "StoreFailed", "the store is broken"},
    Word<Refusal>{Refusal::no_such_task, "NoSuchTask", "there is no such task to run again"},
    Word<Refusal>{Refusal::unique_taken, "Duplicate", "another task has its unique key"},
};

template <class Table, class Value>
constexpr std::string_view name_in(const Table& table, Value value) {
  return table.at(static_cast<std::size_t>(value)).name;
}

template <class Table>
auto value_in(const Table& table, std::string_view name)
    -> std::optional<std::remove_const_t<decltype(table[0].value)>> {
  for (const auto& word : table) {
    if (word.name == name) return word.value;
  }
  return std::nullopt;
}

}  // namespace

Words<TaskState> task_states() {
  return {kStates.data(), kStates.data() + kStates.size()};
}
Words<Reason> reasons() {
  return {kReasons.data(), kReasons.data() + kReasons.size()};
}
Words<AttemptOutcome> attempt_outcomes() {
  return {kOutcomes.data(), kOutcomes.data() + kOutcomes.size()};
}
Words<DeathCause> death_causes() {
  return {kDeaths.data(), kDeaths.data() + kDeaths.size()};
}
Words<Durability> durabilities() {
  return {kDurabilities.data(), kDurabilities.data() + kDurabilities.size()};
}
Words<Refusal> refusals() {
  return {kRefusals.data(), kRefusals.data() + kRefusals.size()};
}

std::string_view name_of(TaskState value) {
  return name_in(kStates, value);
}
std::string_view name_of(Reason value) {
  return name_in(kReasons, value);
}
std::string_view name_of(AttemptOutcome value) {
  return name_in(kOutcomes, value);
}
std::string_view name_of(DeathCause value) {
  return name_in(kDeaths, value);
}
std::string_view name_of(Durability value) {
  return name_in(kDurabilities, value);
}
std::string_view name_of(Refusal value) {
  return name_in(kRefusals, value);
}

std::optional<TaskState> task_state_of(std::string_view name) {
  return value_in(kStates, name);
}
std::optional<Durability> durability_of(std::string_view name) {
  return value_in(kDurabilities, name);
}

std::string describe(const Death& death) {
  const std::string name(name_of(death.cause));
  const bool numbered = death.cause == DeathCause::exit || death.cause == DeathCause::signal;
  return numbered ? name + " " + std::to_string(death.number) : name;
}

}  // namespace mtd::task
