#include "daemon/supervisor/event_ring.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/glob.h"
#include "common/varlink_json.h"

namespace mtd::supervisor {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxEventBytes = 8 * 1024;
constexpr std::size_t kPieceBytes = 48 * 1024;  // plus one event stays below kMaxPieceBytes
constexpr std::size_t kMinPurge = 64;

std::string event_text(json& event) {
  std::string text = varlink::to_text(event);
  if (text.size() <= kMaxEventBytes) return text;
  event.erase("detail");
  event.erase("status_text");
  text = varlink::to_text(event);
  if (text.size() <= kMaxEventBytes) return text;
  json core = json::object();
  for (const char* name : {"cursor", "time", "event", "state", "pid", "incarnation"}) {
    if (event.contains(name)) core[name] = event[name];
  }
  return varlink::to_text(core);
}

std::vector<std::string> selectors_of(const json& parameters) {
  return parameters.value("select", std::vector<std::string>());
}

}  // namespace

bool selector_matches(std::string_view selector, std::string_view pool, std::string_view worker) {
  const std::size_t slash = selector.find('/');
  if (slash == std::string_view::npos) return !pool.empty() && glob_matches(selector, pool);
  const std::size_t worker_slash = worker.find('/');
  return worker_slash != std::string_view::npos &&
         glob_matches(selector.substr(0, slash), worker.substr(0, worker_slash)) &&
         glob_matches(selector.substr(slash + 1), worker.substr(worker_slash + 1));
}

// A position in the ring, and what one caller wants of it.
class EventRing::Reader {
 public:
  Reader(EventRing& ring, std::weak_ptr<Call> call, std::uint64_t position, bool follow,
         std::vector<std::string> selectors, bool foreign)
      : ring_(ring),
        call_(std::move(call)),
        position_(position),
        selectors_(std::move(selectors)),
        follow_(follow),
        foreign_(foreign) {}

  Piece next() {
    std::string events;
    note_lost(events);
    while (position_ < ring_.next_number_ && events.size() < kPieceBytes) {
      const Event& entry = ring_.entries_[position_++ - ring_.first_number()];
      if (wants(entry)) add(events, entry.json);
    }
    const bool at_end = position_ == ring_.next_number_;
    const bool over = at_end && (!follow_ || ring_.closed_);
    if (events.empty() && told_ && !over) {
      ring_.wait(call_);  // nothing was wanted, so the whole ring has been read
      return Piece::wait();
    }
    told_ = true;
    return {over ? Piece::Kind::last : Piece::Kind::part,
            "{\"cursor\":\"" + ring_.cursor_at(position_ - 1) + "\",\"events\":[" + events + "]}"};
  }

 private:
  static void add(std::string& events, std::string_view text) {
    if (!events.empty()) events += ',';
    events += text;
  }

  void note_lost(std::string& events) {
    const std::uint64_t first = ring_.first_number();
    if (position_ >= first && !foreign_) return;
    json lagged{{"event", "lagged"},
                {"missed", foreign_ ? first - 1 : first - position_},
                {"cursor", ring_.cursor_at(first - 1)}};
    if (foreign_) {
      lagged["detail"] =
          "the cursor is of an earlier life of mtd, or its events are lost; missed "
          "counts from the first one since";
    }
    add(events, varlink::to_text(lagged));
    position_ = std::max(position_, first);
    foreign_ = false;
  }

  [[nodiscard]] bool wants(const Event& entry) const {
    return selectors_.empty() ||
           std::any_of(selectors_.begin(), selectors_.end(), [&](const std::string& selector) {
             return selector_matches(selector, entry.pool, entry.worker);
           });
  }

  EventRing& ring_;
  std::weak_ptr<Call> call_;
  std::uint64_t position_;  // number of the next event to read
  std::vector<std::string> selectors_;
  bool follow_;
  bool foreign_;       // began with a cursor of another epoch, not told yet
  bool told_ = false;  // a first reply was given
};

EventRing::EventRing(std::string epoch, std::size_t capacity)
    : epoch_(std::move(epoch)), capacity_(std::max<std::size_t>(capacity, 1)) {}

void EventRing::set_wake_all(WakeAll wake_all) {
  wake_all_ = std::move(wake_all);
}

void EventRing::restore(std::uint64_t last, std::vector<Event> events) {
  const std::size_t kept = std::min<std::size_t>({events.size(), capacity_, last});
  entries_.assign(std::make_move_iterator(events.end() - static_cast<std::ptrdiff_t>(kept)),
                  std::make_move_iterator(events.end()));
  next_number_ = last + 1;
}

void EventRing::push(std::string_view pool, std::string_view worker, json event) {
  event["cursor"] = cursor_at(next_number_);
  if (entries_.size() == capacity_) entries_.pop_front();
  entries_.push_back({std::string(pool), std::string(worker), event_text(event)});
  entries_.back().json.shrink_to_fit();  // it grew by doubling, and there may be thousands
  if (keep_) keep_(next_number_, entries_.back());
  ++next_number_;
  wake_waiting();
}

void EventRing::serve(const std::shared_ptr<Call>& call) {
  const json& parameters = call->parameters();
  const bool follow = parameters.value("follow", false);
  bool foreign = false;
  std::uint64_t position = follow ? next_number_ : first_number();
  if (parameters.contains("since")) {
    const auto start = start_of(parameters["since"].get<std::string>(), foreign);
    if (!start) {
      call->error("org.varlink.service.InvalidParameter",
                  json{{"parameter", "since"},
                       {"message", "must be 0 or the cursor of an event, EPOCH:NUMBER"}});
      return;
    }
    position = *start;
  }
  auto reader =
      std::make_shared<Reader>(*this, call, position, follow, selectors_of(parameters), foreign);
  call->stream([reader] { return reader->next(); });
}

std::optional<std::uint64_t> EventRing::start_of(std::string_view since, bool& foreign) const {
  if (since == "0") return first_number();
  const std::size_t colon = since.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view digits = since.substr(colon + 1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (since.substr(0, colon) != epoch_) {
    foreign = true;
    return first_number();
  }
  if (number >= next_number_) return std::nullopt;  // of the future
  return number + 1;
}

void EventRing::wait(const std::weak_ptr<Call>& call) {
  if (waiting_.size() >= purge_at_) {
    waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(),
                                  [](const auto& entry) { return entry.expired(); }),
                   waiting_.end());
    purge_at_ = std::max(kMinPurge, waiting_.size() * 2);
  }
  waiting_.push_back(call);
}

void EventRing::wake_waiting() {
  if (waiting_.empty() || !wake_all_) return;
  wake_all_(std::exchange(waiting_, {}));
}

void EventRing::close() {
  closed_ = true;
  wake_waiting();
}

std::uint64_t EventRing::first_number() const {
  return next_number_ - entries_.size();
}
std::string EventRing::cursor_at(std::uint64_t number) const {
  return epoch_ + ":" + std::to_string(number);
}
std::string EventRing::cursor() const {
  return cursor_at(next_number_ - 1);
}
std::size_t EventRing::size() const {
  return entries_.size();
}
std::size_t EventRing::capacity() const {
  return capacity_;
}

}  // namespace mtd::supervisor
