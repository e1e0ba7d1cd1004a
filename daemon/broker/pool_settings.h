// A pool as the supervisor tells it, as a queue's settings.
#pragma once

#include "daemon/broker/queue_runner.h"
#include "daemon/sys/broker_protocol.h"

namespace mtd::broker {

[[nodiscard]] QueueSettings settings_of(const Pool& pool);

}  // namespace mtd::broker
