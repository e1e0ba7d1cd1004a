// Connects to io.mtd.Tasks and turns the connection into a stream of frames (method Open).
#pragma once

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

// The first of `paths` that answers. The error names every path with its reason.
[[nodiscard]] Result<OpenedStream> open_stream(const std::vector<std::string>& paths,
                                               Duration patience);
// CLOCK_MONOTONIC.
[[nodiscard]] Instant now();

}  // namespace mtd::client
