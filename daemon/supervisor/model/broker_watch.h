// BrokerWatch: does the broker still answer? One that has nothing to do is not asked, so that
// nobody is woken for it: whoever gives it work, and the broker itself when it has some, says so,
// and it is asked some time after the last sign of life. It must answer a question from its loop.
#pragma once

#include "common/time.h"

namespace mtd::model {

class BrokerWatch {
 public:
  static constexpr Duration kQuiet = Duration::seconds(15);   // without a sign of life, then asked
  static constexpr Duration kAnswer = Duration::seconds(30);  // time for the answer
  // Before it serves it reads all its tasks, and checks them where the machine went down.
  static constexpr Duration kFirstAnswer = Duration::seconds(15 * 60);
  // Who looks so late was stopped or asleep itself, and the broker perhaps with it.
  static constexpr Duration kLate = Duration::seconds(5);

  enum class Step { nothing, ask, end };

  // It has work, or owes an answer.
  void expect(Instant now);
  // It must answer now, not some time after the last sign of life.
  void expect_at_once(Instant now);
  void heard(Instant now);
  // What is to be done at `now`; to be called at next(). `serves`: it has read its tasks.
  [[nodiscard]] Step due(Instant now, bool serves);
  [[nodiscard]] Instant next() const { return next_; }  // never: nothing is expected

 private:
  enum class State { idle, waiting, at_once, asked };
  State state_ = State::idle;
  Instant heard_, next_ = Instant::never();
};

}  // namespace mtd::model
