// Lines of a descriptor, as they come: never reads ahead more than a block, never waits unless the
// descriptor makes it.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace mtd::ctl {

class LineInput {
 public:
  // `separator`: '\n', or '\0' as `find -print0` writes it.
  LineInput(int fd, char separator) : fd_(fd), separator_(separator) {}

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_at_end() const { return ended_ && lines_.empty(); }
  [[nodiscard]] bool has_line() const { return !lines_.empty(); }
  [[nodiscard]] bool wants_to_read() const { return !ended_ && lines_.empty(); }
  // Reads once. A last line without its separator counts.
  void read();
  [[nodiscard]] std::string take();
  // errno of a failed read; 0: none.
  [[nodiscard]] int error() const { return error_; }

 private:
  int fd_;
  char separator_;
  std::string rest_;
  std::deque<std::string> lines_;
  bool ended_ = false;
  int error_ = 0;
};

// Lines that are left in a regular file, from where it is read now; none: it is no such file.
[[nodiscard]] std::optional<std::int64_t> count_lines(int fd, char separator);

}  // namespace mtd::ctl
