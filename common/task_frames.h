// Frames of mtd-task/1 and of io.mtd.Tasks after Open: one JSON object a line, then exactly `body`
// raw bytes if the object has "body". Pure: bytes in, bytes out. The object itself is not looked
// into beyond its member "body"; whoever reads it parses `line`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::task_frames {

inline constexpr std::size_t kMaxLine = 65536;  // with its newline
inline constexpr std::size_t kMaxWire = 65536;  // of a line with its body, to and from a worker
inline constexpr std::size_t kPartBytes = 60u * 1024;  // of a body in one part

struct Frame {
  std::string_view line;                 // without its newline
  std::optional<std::string_view> body;  // none: the object has no "body"
  std::size_t size = 0;                  // bytes of the buffer that it takes
};

// The first frame of `buffer`; none while it is incomplete. An error: what came can never become a
// frame (a line that is too long, a "body" that is no number or beyond `max_body`).
[[nodiscard]] Result<std::optional<Frame>> first_frame(std::string_view buffer,
                                                       std::size_t max_body);

// "body" of a JSON object's text, at its top level; none: there is none.
[[nodiscard]] Result<std::optional<std::uint64_t>> announced_body(std::string_view line);

// `object`: JSON text of an object without "body". With a body: "body":N is added and it follows.
[[nodiscard]] std::string frame(std::string_view object,
                                std::optional<std::string_view> body = std::nullopt);

// A message of a worker, {"t":…,"id":…,"attempt":…}: its body in parts if it does not fit beside
// it.
[[nodiscard]] std::string worker_message(std::string_view object, std::int64_t id,
                                         std::int64_t attempt,
                                         std::optional<std::string_view> body);

}  // namespace mtd::task_frames
