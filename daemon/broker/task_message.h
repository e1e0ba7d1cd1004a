// The frames that the broker writes: to workers, and to clients. Pure text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/broker/model/actions.h"
#include "daemon/broker/store/store.h"

namespace mtd::broker {

// ---- to workers ----
// The task, its body in parts before it where it does not fit. A worker that takes no raw bytes
// gets "body_base64", and parts as "data".
[[nodiscard]] std::vector<std::string> task_frames_of(const task::SendTask& action,
                                                      const task::TaskBody& body,
                                                      bool takes_bodies);
[[nodiscard]] std::string cancel_frame(const task::SendCancel& action);
[[nodiscard]] std::string drain_frame(const task::SendDrain& action);

// ---- to clients ----
[[nodiscard]] std::string ok_frame(std::int64_t seq, task::TaskId id, bool existed);
// seq empty: of no call in particular.
[[nodiscard]] std::string no_frame(std::optional<std::int64_t> seq, std::string_view error,
                                   std::string_view message,
                                   std::optional<std::int64_t> retry_ms = std::nullopt,
                                   task::TaskId id = {});
struct TaskEnd {
  task::TaskId id;
  task::TaskState state = task::TaskState::done;
  task::Reason reason = task::Reason::none;
  task::Death death;
  std::optional<std::uint32_t> attempts;
  task::AnswerRef answer;
};
[[nodiscard]] TaskEnd end_of(const task::Settled& settled);
[[nodiscard]] TaskEnd end_of(const task::FoundTask& found);
// parts: of its result, that were told before it; 0: none.
[[nodiscard]] std::string end_frame(std::int64_t seq, const TaskEnd& end, std::uint32_t parts = 0);
[[nodiscard]] std::string part_frame(std::int64_t seq, task::TaskId id, std::uint32_t part,
                                     std::string_view bytes);
// Its result was in a file that cannot be read any more.
[[nodiscard]] TaskEnd without_result(const TaskEnd& end, std::string_view why);
[[nodiscard]] std::string progress_frame(std::int64_t seq, task::TaskId id,
                                         std::string_view members);

[[nodiscard]] std::string base64(std::string_view bytes);
// "killed by signal 9 (SEGV)": how a worker died, for people.
[[nodiscard]] std::string death_text(const task::Death& death);

}  // namespace mtd::broker
