// EventRing: the last 4 096 events as JSON text, numbered, shared by every reader. A reader is a
// position, so a slow one costs nothing: what it missed it gets as one event {"event":"lagged",
// "missed":n}. A cursor is "<epoch>:<number>", the number counting from 1; the epoch names the life
// over which numbers are counted, which is the keeper's. The ring outlives the server whose calls
// it answers.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "daemon/supervisor/control_names.h"

namespace mtd::supervisor {

inline constexpr std::size_t kEventRingCapacity = 4096;

// "web" (pool and its workers), "web/3" (that worker), "web*" and "web*/2" (globs: * and ?).
[[nodiscard]] bool selector_matches(std::string_view selector, std::string_view pool,
                                    std::string_view worker);

class EventRing {
 public:
  using WakeAll = std::function<void(std::vector<std::weak_ptr<Call>>&&)>;
  struct Event {
    std::string pool, worker, json;
  };
  using Keep = std::function<void(std::uint64_t number, const Event& event)>;

  // `epoch` without ':'. `wake_all` is ControlServer::wake_all.
  explicit EventRing(std::string epoch, std::size_t capacity = kEventRingCapacity);
  void set_wake_all(WakeAll wake_all);
  // Told of each event before any reader gets it.
  void set_keep(Keep keep) { keep_ = std::move(keep); }
  // Before the first push: the events of an earlier life, in order, the last one numbered `last`.
  void restore(std::uint64_t last, std::vector<Event> events);
  [[nodiscard]] std::uint64_t last_number() const { return next_number_ - 1; }

  // Adds the member "cursor" and keeps the event; wakes the readers that wait. `pool` and `worker`
  // ("web/3") are for selectors and may be empty. O(size of the event). An event beyond 8 KiB keeps
  // its members but "detail" and "status_text".
  void push(std::string_view pool, std::string_view worker, nlohmann::json event);

  // Answers the call Events(since, follow, select) from here to its end.
  // since absent: follow → what comes from now on, else all that is kept. "0": all that is kept.
  // A follower with nothing to read yet gets an empty list first: it is subscribed from there on.
  // A cursor of another epoch gets a "lagged" event, then all that is kept.
  void serve(const std::shared_ptr<Call>& call);

  [[nodiscard]] std::string cursor() const;  // of the newest event; "<epoch>:0" when there is none
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t capacity() const;
  // Ends every follower (their stream gets its last piece): for shutdown.
  void close();

 private:
  class Reader;
  [[nodiscard]] std::uint64_t first_number() const;
  [[nodiscard]] std::optional<std::uint64_t> start_of(std::string_view since, bool& foreign) const;
  [[nodiscard]] std::string cursor_at(std::uint64_t number) const;
  void wait(const std::weak_ptr<Call>& call);
  void wake_waiting();

  std::string epoch_;
  std::size_t capacity_;
  WakeAll wake_all_;
  Keep keep_;
  std::deque<Event> entries_;
  std::uint64_t next_number_ = 1;
  bool closed_ = false;
  std::vector<std::weak_ptr<Call>> waiting_;  // followers with nothing to read
  std::size_t purge_at_ = 64;                 // entries of waiting_: look for dead ones
};

}  // namespace mtd::supervisor
