#include "daemon/sys/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace mtd::sys {
namespace {

// Reads of what cannot be had again are not given up at the first refusal.
constexpr int kReadTries = 3;

}  // namespace

Result<UniqueFd> make_memfd(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Error::from_errno("make a memory file", errno);
  return fd;
}

Result<UniqueFd> make_sealed_memfd(const char* name, std::string_view content) {
  auto fd = make_memfd(name);
  if (!fd) return fd.error();
  const auto written = write_at(fd->get(), 0, content);
  if (!written) return written.error();
  const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(fd->get(), F_ADD_SEALS, seals) != 0)
    return Error::from_errno("seal a memory file", errno);
  return fd;
}

Result<std::string> read_memfd(int fd, std::size_t limit) {
  const std::uint64_t size = size_of(fd);
  if (size > limit)
    return Error{"the memory file holds more than " + std::to_string(limit) + " bytes"};
  return read_at(fd, 0, static_cast<std::size_t>(size));
}

Result<void> write_at(int fd, std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return Error::from_errno("write to a memory file", errno);
    bytes.remove_prefix(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

Result<std::string> read_at(int fd, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t have = 0;
  int refusals = 0;
  while (have < size) {
    const ssize_t got =
        ::pread(fd, bytes.data() + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && (errno == EINTR || ++refusals < kReadTries)) continue;
    if (got < 0) return Error::from_errno("read a memory file", errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

std::uint64_t size_of(int fd) {
  struct stat info {};
  int refusals = 0;
  while (::fstat(fd, &info) != 0)
    if (++refusals == kReadTries) return 0;
  return info.st_size > 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

UniqueFd duplicate_sealed(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_WRITE) != 0 ? duplicate(fd) : UniqueFd();
}

}  // namespace mtd::sys
