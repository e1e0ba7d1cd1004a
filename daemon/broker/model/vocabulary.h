// THE tables of the words that people and programs read about tasks: states, reasons, outcomes of
// attempts, causes of death. One row each; status, frames and manual pages are derived from them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/broker/model/actions.h"
#include "daemon/broker/model/events.h"
#include "daemon/broker/model/values.h"

namespace mtd::task {

template <class Value>
struct Word {
  Value value{};
  std::string_view name;     // as printed
  std::string_view summary;  // for the manual: one clause
};

template <class Value>
struct Words {
  const Word<Value>* first = nullptr;
  const Word<Value>* past = nullptr;
  [[nodiscard]] const Word<Value>* begin() const { return first; }
  [[nodiscard]] const Word<Value>* end() const { return past; }
};

[[nodiscard]] Words<TaskState> task_states();
[[nodiscard]] Words<Reason> reasons();
[[nodiscard]] Words<AttemptOutcome> attempt_outcomes();
[[nodiscard]] Words<DeathCause> death_causes();
[[nodiscard]] Words<Durability> durabilities();
[[nodiscard]] Words<Refusal> refusals();

[[nodiscard]] std::string_view name_of(TaskState value);
[[nodiscard]] std::string_view name_of(Reason value);
[[nodiscard]] std::string_view name_of(AttemptOutcome value);
[[nodiscard]] std::string_view name_of(DeathCause value);
[[nodiscard]] std::string_view name_of(Durability value);
[[nodiscard]] std::string_view name_of(Refusal value);

// Empty: no such word.
[[nodiscard]] std::optional<TaskState> task_state_of(std::string_view name);
[[nodiscard]] std::optional<Durability> durability_of(std::string_view name);

// "exit 3", "signal 9", "oom".
[[nodiscard]] std::string describe(const Death& death);

}  // namespace mtd::task
