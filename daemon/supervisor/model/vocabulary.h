// THE tables of the words that people and programs read: worker states, pool states, exit causes,
// events. One row each; status, events, why and the manual pages are derived from them.
#pragma once

#include <string_view>

#include "daemon/supervisor/model/pool.h"

namespace mtd::model {

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

[[nodiscard]] Words<WorkerState> worker_states();
[[nodiscard]] Words<PoolState> pool_states();
[[nodiscard]] Words<ExitCause> exit_causes();
[[nodiscard]] Words<Happening> happenings();

[[nodiscard]] std::string_view name_of(WorkerState value);
[[nodiscard]] std::string_view name_of(PoolState value);
[[nodiscard]] std::string_view name_of(ExitCause value);
[[nodiscard]] std::string_view name_of(Happening value);

}  // namespace mtd::model
