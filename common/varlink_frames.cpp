#include "common/varlink_frames.h"

#include <algorithm>

namespace mtd::varlink {
namespace {
constexpr std::size_t kKeptCapacity = 4096;  // of an empty buffer: thousands of clients are idle
}

void FrameBuffer::append(std::string_view bytes) {
  compact();
  bytes_.append(bytes);
}

bool FrameBuffer::has_frame() {
  const std::size_t end = bytes_.find('\0', std::max(scanned_, begin_));
  scanned_ = end == std::string::npos ? bytes_.size() : end;
  return end != std::string::npos;
}

std::optional<std::string_view> FrameBuffer::next() {
  if (!has_frame()) {
    compact();
    return std::nullopt;
  }
  const std::string_view frame = std::string_view(bytes_).substr(begin_, scanned_ - begin_);
  begin_ = ++scanned_;
  return frame;
}

// Only when at least half of the bytes are used up, so that every byte is moved once on average.
void FrameBuffer::compact() {
  if (begin_ == 0 || begin_ * 2 < bytes_.size()) return;
  bytes_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  if (bytes_.empty() && bytes_.capacity() > kKeptCapacity) bytes_.shrink_to_fit();
}

}  // namespace mtd::varlink
