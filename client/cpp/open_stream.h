// Connects to io.mtd.Tasks and turns the connection into a stream of frames (method Open).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client/cpp/frame_socket.h"
#include "common/result.h"
#include "common/time.h"

namespace mtd::client {

struct OpenedStream {
  FrameSocket socket;
  std::size_t max_body = 0;
};

// A stream on its way. Nothing here waits.
class Opening {
 public:
  // To the first of `paths` that takes the connection. The error names every path with its reason;
  // EAGAIN: there is one, and nobody accepts at it just now.
  [[nodiscard]] static Result<Opening> begin(const std::vector<std::string>& paths);

  [[nodiscard]] int fd() const { return socket_.get(); }
  // Takes in what has come. Nothing: mtd has not answered yet. Once more than that: never.
  [[nodiscard]] Result<std::optional<OpenedStream>> advance();

 private:
  Opening(UniqueFd socket, std::string path);
  UniqueFd socket_;
  std::string path_;
  std::string answer_;
};

// The same, waited for.
[[nodiscard]] Result<OpenedStream> open_stream(const std::vector<std::string>& paths,
                                               Duration patience);
// That nobody has answered for so long.
[[nodiscard]] Error unanswered(Duration patience);
// CLOCK_MONOTONIC.
[[nodiscard]] Instant now();

}  // namespace mtd::client
