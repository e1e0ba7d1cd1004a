#include "daemon/sys/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string_view>

#include "daemon/sys/clock.h"

namespace mtd::sys {
namespace {

Result<std::string> read_all(const UniqueFd& file, const char* name, std::size_t limit) {
  std::string text;
  std::array<char, 4096> chunk;
  while (text.size() < limit) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno(std::string("read ") + name, errno);
    if (got == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::string proc_path(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

Result<std::string> read_of(pid_t pid, const char* file, std::size_t limit = 64 * 1024) {
  if (!proc_is_ours()) return Error{"/proc is not that of this PID namespace", ESRCH};
  return read_small_file(proc_path(pid, file), limit);
}

}  // namespace

bool proc_is_ours() {
  std::array<char, 16> self{};
  pid_t pid = 0;
  const ssize_t size = ::readlink("/proc/self", self.data(), self.size());
  if (size <= 0) return false;
  std::from_chars(self.data(), self.data() + size, pid);
  return pid == ::getpid();
}

std::optional<std::uint64_t> number_at(std::string_view text) {
  const auto begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  return parsed.ec == std::errc() ? std::optional(number) : std::nullopt;
}

Result<std::string> read_small_file(const std::string& path, std::size_t limit) {
  return read_small_file_at(AT_FDCWD, path.c_str(), limit);
}

Result<std::string> read_small_file_at(int directory, const char* name, std::size_t limit) {
  const UniqueFd file(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return Error::from_errno(std::string("open ") + name, errno);
  return read_all(file, name, limit);
}

bool is_orphaned(pid_t parent, Duration patience) {
  constexpr int kRoundMs = 10;
  const Instant until = now() + patience;
  while (::getppid() == parent) {
    if (now() >= until) return false;
    ::poll(nullptr, 0, kRoundMs);
  }
  return true;
}

bool process_exists(pid_t pid) {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

pid_t own_pid() {
  return ::getpid();
}

std::optional<pid_t> parent_of(pid_t pid) {
  const auto stat = read_of(pid, "stat");
  if (!stat) return std::nullopt;
  // pid (comm) state ppid …; comm may hold anything, so the last parenthesis counts (proc(5)).
  const auto end = stat->rfind(')');
  if (end == std::string::npos || end + 4 >= stat->size()) return std::nullopt;
  pid_t parent = 0;
  const char* first = stat->data() + end + 4;
  if (std::from_chars(first, stat->data() + stat->size(), parent).ec != std::errc()) {
    return std::nullopt;
  }
  return parent;
}

std::string comm_of(pid_t pid) {
  auto comm = read_of(pid, "comm", 64);
  if (!comm) return {};
  if (!comm->empty() && comm->back() == '\n') comm->pop_back();
  return *comm;
}

std::string unified_cgroup_of(pid_t pid) {
  const auto text = read_of(pid, "cgroup");
  if (!text) return {};
  std::string_view rest = *text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (line.rfind("0::", 0) == 0) return std::string(line.substr(3));
  }
  return {};
}

std::optional<std::vector<pid_t>> children_of(pid_t pid) {
  const std::string file = "task/" + std::to_string(pid) + "/children";
  const auto text = read_of(pid, file.c_str(), 4 << 20);
  if (!text) return std::nullopt;
  std::vector<pid_t> children;
  const char* at = text->data();
  const char* end = at + text->size();
  while (at < end) {
    pid_t child = 0;
    const auto parsed = std::from_chars(at, end, child);
    if (parsed.ec != std::errc()) break;
    children.push_back(child);
    at = parsed.ptr + 1;
  }
  return children;
}

UniqueFd open_pidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
}

Result<void> signal_pidfd(const UniqueFd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0U) == 0) return {};
  return Error::from_errno("send a signal", errno);
}

}  // namespace mtd::sys
