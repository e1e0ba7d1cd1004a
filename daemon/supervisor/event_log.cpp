#include "daemon/supervisor/event_log.h"

#include <utility>

#include "daemon/sys/memfd.h"

namespace mtd::supervisor {

Result<EventLog> EventLog::create(std::uint64_t epoch) {
  auto file = sys::make_memfd("mtd-events");
  if (!file) return file.error();
  if (auto written = sys::write_at(file->get(), 0, encode_events_header(epoch)); !written)
    return written.error();
  return EventLog(std::move(*file));
}

Result<EventLog> EventLog::adopt(UniqueFd file, std::optional<std::uint64_t> last,
                                 DecodedEvents& content) {
  const auto bytes = sys::read_memfd(file.get(), kEventsHeaderBytes + kEventRingBytes);
  if (!bytes) return bytes.error();
  content = decode_events(*bytes, last);
  if (!content.is_whole) return Error{"the kept events do not begin with their header"};
  EventLog log(std::move(file));
  log.end_ = content.end;
  const std::string blank(kEventAlign, '\0');
  for (const std::size_t at : content.stale)
    (void)sys::write_at(log.file_.get(), kEventsHeaderBytes + at, blank).has_value();
  return log;
}

void EventLog::append(const StoredEvent& event) {
  const std::string bytes = encode_event(event);
  if (bytes.empty()) return;  // readers after a restart are told that one is missing
  if (end_ + bytes.size() > kEventRingBytes) end_ = 0;
  // Out of memory only: as above.
  (void)sys::write_at(file_.get(), kEventsHeaderBytes + end_, bytes).has_value();
  end_ += bytes.size();
}

}  // namespace mtd::supervisor
