// FrameSocket: a connected stream socket that carries task frames, never blocking: bytes out as
// there is room, whole frames in. Owns its descriptor. No signal is ever raised.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"

namespace mtd::client {

struct Message {
  std::string line;                 // JSON text
  std::optional<std::string> body;  // bytes
};

class FrameSocket {
 public:
  FrameSocket() = default;
  FrameSocket(UniqueFd socket, std::size_t max_body);

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool is_open() const { return socket_.get() >= 0; }
  // The other side has closed; what it had said before can still be taken.
  [[nodiscard]] bool is_ended() const { return ended_; }

  void send(std::string_view bytes);
  void flush();
  // Until everything has been written or the other side has gone.
  void flush_all();
  [[nodiscard]] std::size_t backlog() const { return out_.size() - sent_; }

  // Reads what is there; then take() gives the whole frames.
  void receive();
  // Waits until there is something, or a signal has come, and reads it.
  void receive_some();
  // receive_some() waits no longer than that. The socket becomes one that waits.
  void limit_waits(Duration at_most);
  // Bytes, ever.
  [[nodiscard]] std::uint64_t received() const { return received_; }
  // An error: the bytes are no frames; nothing more can come.
  [[nodiscard]] Result<std::optional<Message>> take();

 private:
  enum class Got { nothing, a_signal, some, all_there_was_room_for };
  Got read(int flags);
  void make_room();

  UniqueFd socket_;
  std::size_t max_body_ = 0;
  std::string out_;
  std::size_t sent_ = 0;
  std::vector<char> in_;
  std::size_t taken_ = 0, filled_ = 0;  // of in_
  bool ended_ = false;
  std::uint64_t received_ = 0;
  int limit_ms_ = -1;
};

}  // namespace mtd::client
