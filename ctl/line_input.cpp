#include "ctl/line_input.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace mtd::ctl {
namespace {

constexpr std::size_t kBlock = 65536;

}  // namespace

void LineInput::read() {
  std::array<char, kBlock> block{};
  const ssize_t got = ::read(fd_, block.data(), block.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) {
    error_ = got < 0 ? errno : 0;
    ended_ = true;
    if (!rest_.empty()) lines_.push_back(std::exchange(rest_, {}));
    return;
  }
  std::size_t from = rest_.size();
  rest_.append(block.data(), static_cast<std::size_t>(got));
  std::size_t begin = 0;
  for (std::size_t end = rest_.find(separator_, from); end != std::string::npos;
       end = rest_.find(separator_, from)) {
    lines_.push_back(rest_.substr(begin, end - begin));
    begin = from = end + 1;
  }
  rest_.erase(0, begin);
}

std::string LineInput::take() {
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

std::optional<std::int64_t> count_lines(int fd, char separator) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) return std::nullopt;
  const off_t begin = ::lseek(fd, 0, SEEK_CUR);
  if (begin < 0) return std::nullopt;
  std::array<char, kBlock> block{};
  std::int64_t count = 0;
  off_t at = begin;
  bool is_open_line = false;
  for (;;) {
    const ssize_t got = ::pread(fd, block.data(), block.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return count + (is_open_line ? 1 : 0);
    const auto size = static_cast<std::size_t>(got);
    count += std::count(block.data(), block.data() + size, separator);
    is_open_line = block[size - 1] != separator;
    at += got;
  }
}

}  // namespace mtd::ctl
