// Where mtctl writes: one descriptor, nothing kept back, and a reader that went away is no error.
#pragma once

#include <string>
#include <string_view>

namespace mtd::ctl {

class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}

  // Writes all of it now. After the reader or the terminal has gone everything is dropped silently.
  void write(std::string_view text);
  void line(std::string_view text) { write(std::string(text) + "\n"); }

  // While a reader takes nothing, write() waits for room. Once `fd` is readable it waits no longer:
  // what was to be written is dropped, as after the reader has gone. -1: it waits as long as it
  // takes.
  void heed(int fd) { heeded_ = fd; }

  [[nodiscard]] bool reader_gone() const { return reader_gone_; }
  // errno of the first other failure (a full disk), 0 when all was written.
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] bool usable() const { return !reader_gone_ && error_ == 0; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  [[nodiscard]] bool has_room();

  int fd_;
  int heeded_ = -1;
  bool reader_gone_ = false;
  int error_ = 0;
};

}  // namespace mtd::ctl
