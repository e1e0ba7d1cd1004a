#include "daemon/supervisor/task_refusals.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "common/task_methods.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {

void TaskRefusals::begin(int listener, const control::AccessPolicy& policy, std::string reason) {
  reason_ = std::move(reason);
  if (accepts_) return server_->set_policy(policy);
  UniqueFd copy = sys::duplicate(listener);
  if (!copy) return;  // no descriptor is left: they wait
  control::ServiceInfo info;
  info.version = MTD_VERSION;
  info.interface = &control::task_interface();
  server_ = std::make_unique<control::ControlServer>(reactor_, *this, std::move(copy), policy,
                                                     control::ControlLimits{}, info);
  accepts_ = true;
}

void TaskRefusals::pass_on() {
  if (std::exchange(accepts_, false)) server_->set_listener({});
}

void TaskRefusals::dispatch(std::shared_ptr<control::Call> call) {
  call->error("NotServing", {{"message", reason_}});
}

}  // namespace mtd::supervisor
