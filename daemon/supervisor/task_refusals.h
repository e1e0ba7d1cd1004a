// TaskRefusals: callers of io.mtd.Tasks are told why nobody serves them, instead of waiting, while
// there is no broker that could. Of what they say no more is read than the call's name.
#pragma once

#include <memory>
#include <string>

#include "daemon/control/call.h"
#include "daemon/control/loop_reactor.h"
#include "daemon/control/server.h"

namespace mtd::supervisor {

class TaskRefusals final : public control::Dispatcher {
 public:
  explicit TaskRefusals(sys::EventLoop& loop) : reactor_(loop) {}

  // Until pass_on(): each call is answered with NotServing and `reason`. Keeps a duplicate of
  // `listener`. Again: the reason is another one from now on.
  void begin(int listener, const control::AccessPolicy& policy, std::string reason);
  // A broker takes the next callers; who is here already is still told.
  void pass_on();
  void end() {
    accepts_ = false;
    server_.reset();
  }
  [[nodiscard]] bool takes_callers() const { return accepts_; }

  void dispatch(std::shared_ptr<control::Call> call) override;

 private:
  control::LoopReactor reactor_;
  std::string reason_;
  bool accepts_ = false;
  std::unique_ptr<control::ControlServer> server_;
};

}  // namespace mtd::supervisor
