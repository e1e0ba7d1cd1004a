#include "daemon/sys/runtime_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "common/escape.h"

namespace mtd::sys {
namespace {

class UmaskGuard {
 public:
  explicit UmaskGuard(mode_t mask) : old_(::umask(mask)) {}
  UmaskGuard(const UmaskGuard&) = delete;
  UmaskGuard& operator=(const UmaskGuard&) = delete;
  ~UmaskGuard() { ::umask(old_); }

 private:
  mode_t old_;
};

pid_t pid_inside(int lock) {
  std::array<char, 32> text{};
  if (::pread(lock, text.data(), text.size() - 1, 0) <= 0) return 0;
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

}  // namespace

uid_t own_uid() {
  return ::geteuid();
}

std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string default_runtime_dir() {
  if (own_uid() == 0) return "/run/mtd";
  const std::string xdg = environment("XDG_RUNTIME_DIR");
  if (!xdg.empty() && xdg.front() == '/') return xdg + "/mtd";
  return "/tmp/mtd-" + std::to_string(own_uid());
}

Result<UniqueFd> open_runtime_dir(const std::string& path) {
  const std::string shown = escape_for_terminal(path);
  {
    const UmaskGuard mask(own_uid() == 0 ? 022 : 077);
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
      return Error::from_errno("make the runtime directory " + shown, errno);
    }
  }
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return Error::from_errno("open the runtime directory " + shown, errno);
  struct stat info {};
  if (::fstat(directory.get(), &info) != 0) return Error::from_errno("look at " + shown, errno);
  if (info.st_uid != own_uid()) {
    return Error{"the runtime directory " + shown + " belongs to uid " +
                 std::to_string(info.st_uid) + ", not to mtd's uid " + std::to_string(own_uid())};
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Error{"the runtime directory " + shown + " is writable for others than its owner"};
  }
  return directory;
}

Result<std::variant<UniqueFd, LockHeld>> take_lock(int directory, pid_t keeper) {
  using Outcome = std::variant<UniqueFd, LockHeld>;
  UniqueFd lock;
  {
    const UmaskGuard mask(077);
    lock.reset(::openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  if (!lock) return Error::from_errno("open the lock file", errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Error::from_errno("take the lock", errno);
    return Outcome(LockHeld{pid_inside(lock.get())});
  }
  const std::string text = std::to_string(keeper) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return Error::from_errno("write the lock file", errno);
  }
  return Outcome(std::move(lock));
}

bool is_lock_file(int directory, int lock) {
  struct stat named {
  }, held{};
  return ::fstatat(directory, "lock", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(lock, &held) == 0 && named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

Result<UniqueFd> bind_socket(const std::string& path, SocketKind kind, mode_t mode) {
  const std::string shown = escape_for_terminal(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Error{"the socket path " + shown + " has " + std::to_string(path.size()) +
                 " bytes; the kernel takes at most " +
                 std::to_string(sizeof(address.sun_path) - 1) +
                 " (use a shorter --runtime-dir or control.socket)"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());

  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return Error{shown + " exists and is not a socket; mtd does not remove it"};
    }
    if (::unlink(path.c_str()) != 0)
      return Error::from_errno("remove the stale socket " + shown, errno);
  }
  const int type = kind == SocketKind::datagram ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("make a socket", errno);
  {
    const UmaskGuard mask(static_cast<mode_t>(~mode & 0777U));
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      return Error::from_errno("bind " + shown, errno);
    }
  }
  if (kind == SocketKind::stream_listener && ::listen(fd.get(), 4096) != 0) {
    return Error::from_errno("listen on " + shown, errno);
  }
  return fd;
}

std::string path_of(int directory, const std::string& otherwise) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(directory);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size() - 1);
  return size > 0 && path[0] == '/' ? std::string(path.data(), static_cast<std::size_t>(size))
                                    : otherwise;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

void remove_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(path.c_str());
}

bool socket_file_is_there(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

}  // namespace mtd::sys
