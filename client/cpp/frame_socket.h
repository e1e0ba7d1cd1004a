// FrameSocket: a connected stream socket that carries task frames, never blocking: bytes out as
// there is room, whole frames in. Owns its descriptor. No signal is ever raised.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
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
  // An error: the bytes are no frames; nothing more can come.
  [[nodiscard]] Result<std::optional<Message>> take();

 private:
  UniqueFd socket_;
  std::size_t max_body_ = 0;
  std::string out_;
  std::size_t sent_ = 0;
  std::string in_;
  std::size_t taken_ = 0;
  bool ended_ = false;
};

}  // namespace mtd::client
