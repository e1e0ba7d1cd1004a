#include "daemon/supervisor/model/broker_watch.h"

#include <utility>

namespace mtd::model {

void BrokerWatch::expect(Instant now) {
  if (state_ != State::idle) return;
  state_ = State::waiting;
  next_ = now + kQuiet;
}

void BrokerWatch::stop(Instant now) {
  stop_by_ = now + kEnd;
  if (state_ == State::asked) return;
  state_ = State::at_once;
  next_ = now;
}

void BrokerWatch::heard(Instant now) {
  heard_ = now;
  if (state_ != State::asked) return;
  state_ = State::idle;
  next_ = Instant::never();
}

BrokerWatch::Step BrokerWatch::due(Instant now, bool serves) {
  if (now >= stop_by_) {
    next_ = Instant::never();
    state_ = State::idle;
    const bool again = std::exchange(ended_, true);
    stop_by_ = again ? Instant::never() : now + kGone;
    return again ? Step::give_up : Step::end;
  }
  if (state_ == State::idle || now < next_) return Step::nothing;
  if (state_ == State::waiting && now < heard_ + kQuiet) {
    next_ = heard_ + kQuiet;
    return Step::nothing;
  }
  const bool late = next_ + kLate < now;
  if (state_ == State::asked && !late) {
    state_ = State::idle;
    next_ = Instant::never();
    if (!stop_by_.is_never()) stop_by_ = now + kGone;
    ended_ = true;
    return Step::end;
  }
  state_ = State::asked;
  next_ = now + (serves ? kAnswer : kFirstAnswer);
  return Step::ask;
}

}  // namespace mtd::model
