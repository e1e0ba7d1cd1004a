// The handlers of io.mtd.Tasks: every call of common/task_methods.h.
#pragma once

#include <memory>

#include "daemon/control/call.h"

namespace mtd::broker {

class Broker;

[[nodiscard]] std::unique_ptr<control::Dispatcher> make_task_handlers(Broker& broker);

}  // namespace mtd::broker
