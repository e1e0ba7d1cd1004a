// The handlers of io.mtd.Manager: one row of control::kMethods each.
#pragma once

#include <memory>

#include "daemon/supervisor/control_names.h"

namespace mtd::supervisor {

class Supervisor;

[[nodiscard]] std::unique_ptr<Dispatcher> make_control_handlers(Supervisor& supervisor);

}  // namespace mtd::supervisor
