#include "config/read_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "common/unique_fd.h"

namespace mtd::config {
namespace {

std::string octal(mode_t mode) {
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return buffer.data();
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Error cannot_read(int error) {
  if (error == ELOOP) return {"cannot be read: its symbolic links lead in a circle", error};
  return Error::from_errno("cannot be read", error);
}

std::string_view kind(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "something else";
}

// `what`: "the directory /etc/mtd " or nothing for the file itself.
Result<void> check_owner_and_mode(const struct stat& info, const std::string& what) {
  const uid_t self = ::geteuid();
  if (info.st_uid != 0 && info.st_uid != self) {
    return Error{what + "belongs to uid " + std::to_string(info.st_uid) +
                 "; it must belong to root" + (self == 0 ? "" : " or uid " + std::to_string(self))};
  }
  const bool sticky = S_ISDIR(info.st_mode) && (info.st_mode & S_ISVTX) != 0;
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky) {
    return Error{what + "may be changed by others (mode " + octal(info.st_mode) +
                 "); run chmod go-w on it"};
  }
  return {};
}

// The directories on both ends of a symbolic link: who may rename in either decides what is read.
Result<void> check_folders(const std::string& path) {
  if (const auto checked = check_directory(folder_of(path)); !checked) return checked.error();
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (real == nullptr) return cannot_read(errno);
  return check_directory(folder_of(real.get()));
}

Result<std::string> read_all(int fd) {
  std::string text;
  std::array<char, 65'536> buffer{};
  while (text.size() <= kMaxFileBytes) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_read(errno);
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return Error{"is larger than 1 MiB, the most that is read"};
}

}  // namespace

Result<void> check_directory(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return cannot_read(errno);
  return check_owner_and_mode(info, "its directory " + path + " ");
}

Result<std::string> read_file(const std::string& path, bool check_ownership) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENXIO) return Error{"is a socket or a device; it must be a regular file"};
    return cannot_read(errno);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return cannot_read(errno);
  if (!S_ISREG(info.st_mode)) {
    return Error{"is " + std::string(kind(info.st_mode)) + "; it must be a regular file"};
  }
  if (info.st_size > static_cast<off_t>(kMaxFileBytes)) {
    return Error{"has " + std::to_string(info.st_size) + " bytes; at most 1 MiB is read"};
  }
  if (check_ownership) {
    if (const auto checked = check_owner_and_mode(info, ""); !checked) return checked.error();
    if (const auto checked = check_folders(path); !checked) return checked.error();
  }
  return read_all(fd.get());
}

}  // namespace mtd::config
