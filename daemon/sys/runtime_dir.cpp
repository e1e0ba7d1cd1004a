#include "daemon/sys/runtime_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/escape.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/umask_guard.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMostFormerOwners = 16;
constexpr std::size_t kHexDigits = 16;

struct LockText {
  pid_t pid = 0;
  std::vector<std::uint64_t> instances;
};

// Whatever else stands there is passed over.
LockText read_lock(int lock) {
  std::array<char, 1024> text{};
  const ssize_t got = ::pread(lock, text.data(), text.size(), 0);
  LockText content;
  if (got <= 0) return content;
  const char* const end = text.data() + got;
  const char* at = std::from_chars(text.data(), end, content.pid).ptr;
  while (at < end && content.instances.size() <= kMostFormerOwners) {
    const char* const line = std::find(at, end, '\n');
    std::uint64_t instance = 0;
    if (line - at == static_cast<std::ptrdiff_t>(kHexDigits) &&
        std::from_chars(at, line, instance, 16).ptr == line && instance != 0) {
      content.instances.push_back(instance);
    }
    at = line == end ? end : line + 1;
  }
  return content;
}

Result<void> write_lock(int lock, pid_t keeper, std::uint64_t instance,
                        const std::vector<std::uint64_t>& former) {
  std::string text = std::to_string(keeper) + "\n";
  const auto add = [&](std::uint64_t one) {
    std::array<char, kHexDigits + 2> line{};
    std::snprintf(line.data(), line.size(), "%016llx\n", static_cast<unsigned long long>(one));
    text += line.data();
  };
  add(instance);
  for (const auto one : former)
    add(one);
  // Written over, then cut: at no moment is a former owner missing.
  if (::pwrite(lock, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::ftruncate(lock, static_cast<off_t>(text.size())) != 0) {
    return Error::from_errno("write the lock file", errno);
  }
  return {};
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

Result<std::variant<OwnerLock, LockHeld>> take_lock(int directory, pid_t keeper,
                                                    std::uint64_t instance) {
  using Outcome = std::variant<OwnerLock, LockHeld>;
  OwnerLock lock;
  {
    const UmaskGuard mask(077);
    lock.fd.reset(::openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  if (!lock.fd) return Error::from_errno("open the lock file", errno);
  if (::flock(lock.fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Error::from_errno("take the lock", errno);
    const pid_t owner = read_lock(lock.fd.get()).pid;
    return Outcome(LockHeld{owner, owner > 0 && process_exists(owner)});
  }
  // Removed by whoever held it before, or by a cleaner: then the next one locks another file.
  if (!is_lock_file(directory, lock.fd.get())) return Outcome(LockHeld{});
  lock.former = former_owners(lock.fd.get(), instance);
  const auto written = write_lock(lock.fd.get(), keeper, instance, lock.former);
  if (!written) return written.error();
  return Outcome(std::move(lock));
}

std::vector<std::uint64_t> former_owners(int lock, std::uint64_t instance) {
  auto former = read_lock(lock).instances;
  former.erase(std::remove(former.begin(), former.end(), instance), former.end());
  if (former.size() > kMostFormerOwners) former.resize(kMostFormerOwners);
  return former;
}

void forget_former_owners(int lock, pid_t keeper, std::uint64_t instance) {
  (void)write_lock(lock, keeper, instance, {}).has_value();
}

void forget_owner(int lock) {
  (void)!::ftruncate(lock, 0);
}

bool is_lock_file(int directory, int lock) {
  struct stat named {
  }, held{};
  return ::fstatat(directory, "lock", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(lock, &held) == 0 && named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

namespace {

bool is_answered(const sockaddr_un& address, int type) {
  const UniqueFd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                             sizeof(address)) == 0 ||
                   errno == EAGAIN);
}

}  // namespace

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

  const int type = kind == SocketKind::datagram ? SOCK_DGRAM : SOCK_STREAM;
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return Error{shown + " exists and is not a socket; mtd does not remove it"};
    }
    if (is_answered(address, type)) {
      return Error{"another process has the socket " + shown +
                       " open; is it another mtd with the same control.socket?",
                   EADDRINUSE};
    }
    if (::unlink(path.c_str()) != 0)
      return Error::from_errno("remove the stale socket " + shown, errno);
  }
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
