// EventLog: keeps the event ring's events in a memory file that the keeper holds, so that their
// numbers go on in the supervisor's next life. One small write for each event.
#pragma once

#include <cstdint>
#include <optional>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/supervisor/event_records.h"

namespace mtd::supervisor {

class EventLog {
 public:
  [[nodiscard]] static Result<EventLog> create(std::uint64_t epoch);
  // `last`: the newest event that counts. Without a sound header an Error.
  [[nodiscard]] static Result<EventLog> adopt(UniqueFd file, std::optional<std::uint64_t> last,
                                              DecodedEvents& content);
  [[nodiscard]] int fd() const { return file_.get(); }
  void append(const StoredEvent& event);

 private:
  explicit EventLog(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
  std::size_t end_ = 0;  // in the ring
};

}  // namespace mtd::supervisor
