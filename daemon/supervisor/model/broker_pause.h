// BrokerPause: how long after its end the broker is started again. One that served goes on at once,
// unless it dies all the time; one that never comes to serve is tried less and less often.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "common/time.h"

namespace mtd::model {

enum class BrokerEnd {
  served,      // it had come to serve
  died,        // it had not, and nobody knows why
  cannot_work  // it said why, or could not even be started
};

class BrokerPause {
 public:
  static constexpr std::size_t kQuickDeaths = 5;  // within kQuickWindow are too many
  static constexpr Duration kQuickWindow = Duration::seconds(10);
  static constexpr Duration kFirst = Duration::seconds(1);
  static constexpr Duration kLongest = Duration::seconds(30);

  // Zero: at once.
  [[nodiscard]] Duration after(Instant now, BrokerEnd end);

 private:
  std::deque<Instant> deaths_;  // the last ones
  std::uint32_t in_vain_ = 0;   // ends in a row before it served
};

}  // namespace mtd::model
