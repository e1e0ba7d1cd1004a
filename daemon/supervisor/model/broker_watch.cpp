#include "daemon/supervisor/model/broker_watch.h"

namespace mtd::model {

void BrokerWatch::expect(Instant now) {
  if (state_ != State::idle) return;
  state_ = State::waiting;
  next_ = now + kQuiet;
}

void BrokerWatch::stop(Instant now) {
  if (state_ == State::ended) {
    next_ = now + kGone;
    return;
  }
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
  if (now < next()) return Step::nothing;
  if (state_ == State::ended) {
    next_ = Instant::never();
    return Step::give_up;
  }
  if (state_ == State::waiting && now < heard_ + kQuiet) {
    next_ = heard_ + kQuiet;
    return Step::nothing;
  }
  const bool late = next_ + kLate < now;
  if (now >= stop_by_ || (state_ == State::asked && !late)) {
    state_ = State::ended;
    stop_by_ = Instant::never();
    next_ = now + kGone;
    return Step::end;
  }
  state_ = State::asked;
  next_ = now + (serves ? kAnswer : kFirstAnswer);
  return Step::ask;
}

}  // namespace mtd::model
