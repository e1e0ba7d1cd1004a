// FrameBuffer: cuts a byte stream into Varlink messages, each ended by a NUL byte. Linear in the
// bytes given, whatever their split. The owner bounds what it appends.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mtd::varlink {

class FrameBuffer {
 public:
  void append(std::string_view bytes);
  // The first message without its NUL, removed from the buffer; the view is valid until the next
  // call that is not const. nullopt: none is complete.
  [[nodiscard]] std::optional<std::string_view> next();
  [[nodiscard]] bool has_frame();
  // All that is there, whatever it is.
  [[nodiscard]] std::string_view rest() const { return std::string_view(bytes_).substr(begin_); }
  [[nodiscard]] std::size_t size() const { return bytes_.size() - begin_; }
  [[nodiscard]] bool empty() const { return size() == 0; }

 private:
  void compact();

  std::string bytes_;
  std::size_t begin_ = 0;    // of the first message
  std::size_t scanned_ = 0;  // no NUL in [begin_, scanned_)
};

}  // namespace mtd::varlink
