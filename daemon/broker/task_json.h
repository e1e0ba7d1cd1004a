// Tasks, queues and the store as io.mtd.Tasks tells them (common/task_methods.cpp has the members).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "daemon/broker/queue_runner.h"
#include "daemon/broker/store/store.h"

namespace mtd::broker {

// progress: ,"done":3,… as a worker said it last; null: nothing.
[[nodiscard]] nlohmann::json task_json(const task::FoundTask& found, const std::string* progress,
                                       bool with_history);
[[nodiscard]] nlohmann::json queue_json(const QueueRunner& queue, task::WallTime now);
[[nodiscard]] nlohmann::json store_json(const task::StoreDescription& description);

}  // namespace mtd::broker
