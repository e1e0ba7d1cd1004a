// A line of text in fixed memory: what does not fit is left away. For what the keeper says to
// people and writes to /proc; it has no stdio.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mtd::keeper {

class Line {
 public:
  Line& put(const char* text) {
    for (; *text != '\0' && size_ + 1 < sizeof text_; ++text)
      text_[size_++] = *text;
    return *this;
  }
  Line& count(std::uint64_t value) {
    char digits[21] = {};
    char* at = digits + 20;
    do {
      *--at = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    return put(at);
  }
  Line& number(std::int64_t value) {
    if (value < 0) put("-");
    const auto bits = static_cast<std::uint64_t>(value);
    return count(value < 0 ? -bits : bits);
  }
  [[nodiscard]] const char* text() const { return text_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  char text_[512] = {};
  std::size_t size_ = 0;
};

}  // namespace mtd::keeper
