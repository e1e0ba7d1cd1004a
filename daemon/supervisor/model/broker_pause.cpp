#include "daemon/supervisor/model/broker_pause.h"

#include <algorithm>

namespace mtd::model {

Duration BrokerPause::after(Instant now, BrokerEnd end) {
  deaths_.push_back(now);
  if (deaths_.size() > kQuickDeaths) deaths_.pop_front();
  if (end == BrokerEnd::served) {
    in_vain_ = 0;
    const bool often = deaths_.size() == kQuickDeaths && now.since(deaths_.front()) < kQuickWindow;
    return often ? kFirst : Duration();
  }
  ++in_vain_;
  const std::uint32_t free = end == BrokerEnd::died ? kQuickDeaths - 1 : 0;
  if (in_vain_ <= free) return {};
  Duration pause = kFirst;
  for (std::uint32_t i = free + 1; i < in_vain_ && pause < kLongest; ++i)
    pause = pause + pause;
  return std::min(pause, kLongest);
}

}  // namespace mtd::model
