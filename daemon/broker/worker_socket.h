// WorkerSocket: the conversation with one worker. Gives out each frame once, in order, and takes it
// out of the socket only when it is settled, so that a successor of this broker finds what was not.
// Frames to the worker are written whole; what there is no room for waits. What one turn of the
// loop leads to goes out and is taken out together, by flush().
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/broker/model/values.h"
#include "daemon/sys/event_loop.h"

namespace mtd::broker {

// A frame that is not settled when it has been looked at names the attempt it is the answer of.
struct AnswerOf {
  task::TaskId id;
  std::uint32_t attempt = 0;
  friend constexpr bool operator==(const AnswerOf&, const AnswerOf&) = default;
};

class WorkerSocket {
 public:
  struct Handlers {
    // Nothing: the frame is settled. The error ends the conversation.
    std::function<Result<std::optional<AnswerOf>>(std::string_view line,
                                                  std::optional<std::string_view> body)>
        frame;
    std::function<void(const Error&)> fault;  // nonsense; nothing is read any more
    std::function<void()> closed;             // by the worker
  };

  // `scratch`: shared by all; at least as large as what a socket holds.
  WorkerSocket(sys::EventLoop& loop, UniqueFd socket, std::vector<char>& scratch,
               Handlers handlers);
  // Registers with the loop. Not from within the constructor: frames may come at once.
  Result<void> start();
  // Looks at all that has arrived.
  void read();
  // The answer is on record: its frame, and what is settled behind it, is taken out by the next
  // flush().
  void settle(const AnswerOf& answer);
  // Written by the next flush().
  void send(std::string frame) { outgoing_.push_back(std::move(frame)); }
  void flush();
  [[nodiscard]] bool is_broken() const { return broken_; }

 private:
  struct Seen {
    std::size_t size = 0;
    std::optional<AnswerOf> waits;  // empty: settled
  };
  void on_ready(std::uint32_t events);
  void settle_seen(const AnswerOf& answer);
  void take_out();
  void write();
  [[nodiscard]] std::size_t join();
  void break_off(const Error& why);

  sys::EventLoop& loop_;
  UniqueFd socket_;
  sys::EventLoop::Watch watch_;
  std::vector<char>& scratch_;
  Handlers handlers_;
  std::deque<Seen> seen_;        // frames that are still in the socket
  std::size_t seen_bytes_ = 0;   // of them together
  std::vector<AnswerOf> early_;  // settled while their frame was being looked at
  std::deque<std::string> outgoing_;
  std::string joined_;  // of outgoing_, the first ones
  bool broken_ = false, ended_ = false, hung_up_ = false, writable_asked_ = false, reading_ = false;
};

}  // namespace mtd::broker
