// One end of the conversation between supervisor and broker (broker_protocol.h). Never blocks: what
// the socket does not take waits in an outbox, which flush() empties; beyond its limit the other
// end counts as gone. A message that is not whole, or of a wrong size, is an error: nothing is
// guessed.
#pragma once

#include <cstddef>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/broker_protocol.h"

namespace mtd::sys {

// Every worker of a full table attached at once, with room to spare.
inline constexpr std::size_t kMaxLinkOutbox = 64 * 1024;

struct AttachedSocket {
  broker::Attach message;
  UniqueFd fd;
};
struct NewListener {
  UniqueFd fd;
};
using ToBroker =
    std::variant<broker::Welcome, broker::Pool, broker::PoolGone, AttachedSocket, broker::Drain,
                 broker::Ended, broker::Synced, broker::Stop, broker::Ping, NewListener>;
using ToSupervisor =
    std::variant<broker::Hello, broker::Serving, broker::Ready, broker::Drained, broker::Spent,
                 broker::Condemned, broker::Load, broker::EndedTaken, broker::Failed,
                 broker::Backlog, broker::Pong, broker::Working>;

[[nodiscard]] Result<ToBroker> decode_to_broker(std::string_view bytes, UniqueFd fd);
[[nodiscard]] Result<ToSupervisor> decode_to_supervisor(std::string_view bytes);

class BrokerLink {
 public:
  BrokerLink() = default;
  explicit BrokerLink(UniqueFd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(socket_); }
  void close();

  template <class Message>
  void send(Message message, int fd = -1) {
    message.header.type = Message::kType;
    message.header.size = sizeof(Message);
    std::string bytes(sizeof(Message), '\0');
    std::memcpy(bytes.data(), static_cast<const void*>(&message), sizeof(Message));
    post(std::move(bytes), fd);
  }
  [[nodiscard]] bool wants_write() const { return !outbox_.empty(); }
  Result<void> flush();

  // One message; nothing when there is none now.
  [[nodiscard]] Result<std::optional<std::pair<std::string, UniqueFd>>> receive();

 private:
  struct Outgoing {
    std::string bytes;
    UniqueFd fd;
  };
  void post(std::string bytes, int fd);

  UniqueFd socket_;
  std::deque<Outgoing> outbox_;
  bool overflown_ = false;
};

// A text of a message: up to its NUL, or all of it.
template <std::size_t N>
[[nodiscard]] std::string text_in(const char (&text)[N]) {
  const std::string_view all(text, N);
  return std::string(all.substr(0, all.find('\0')));
}
template <std::size_t N>
void put_text(char (&to)[N], std::string_view text) {
  const std::size_t size = text.size() < N - 1 ? text.size() : N - 1;
  std::memcpy(to, text.data(), size);
  to[size] = '\0';
}

}  // namespace mtd::sys
