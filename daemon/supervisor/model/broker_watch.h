// BrokerWatch: does the broker still answer? One that has nothing to do is not asked, so that
// nobody is woken for it: whoever gives it work, and the broker itself when it has some, says so,
// and it is asked some time after the last sign of life. It must answer a question from its loop.
#pragma once

#include <algorithm>

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

  static constexpr Duration kEnd = Duration::seconds(60);  // from being told to end
  // From SIGKILL to the end of all waiting: a disk that hangs holds a process in the kernel.
  static constexpr Duration kGone = Duration::seconds(5);

  enum class Step { nothing, ask, end, give_up };

  // It has work, or owes an answer.
  void expect(Instant now);
  // It was told to end: it must do so, and answer until then.
  void stop(Instant now);
  void heard(Instant now);
  // What is to be done at `now`; to be called at next(). `serves`: it has read its tasks.
  [[nodiscard]] Step due(Instant now, bool serves);
  [[nodiscard]] Instant next() const { return std::min(next_, stop_by_); }  // never: nothing to do

 private:
  enum class State { idle, waiting, at_once, asked, ended };
  State state_ = State::idle;
  Instant heard_, next_ = Instant::never(), stop_by_ = Instant::never();
};

}  // namespace mtd::model
