#include "daemon/sys/spool_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "common/unique_fd.h"
#include "daemon/sys/durable_directory.h"

namespace mtd::sys {

Result<void> append_file(const std::string& path, std::string_view bytes) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
  const UniqueFd file(::open(path.c_str(), flags, 0600));
  struct stat before {};
  if (!file || ::fstat(file.get(), &before) != 0) return Error::from_errno("open " + path, errno);
  while (!bytes.empty()) {
    const ssize_t size = ::write(file.get(), bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      const int error = size == 0 ? ENOSPC : errno;
      // Should this fail as well, whoever reads the file sees that its last part is cut off.
      if (::ftruncate(file.get(), before.st_size) != 0)
        return Error::from_errno("cut " + path, errno);
      return Error::from_errno("write " + path, error);
    }
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return {};
}

Result<UniqueFd> open_to_read(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return Error::from_errno("open " + path, errno);
  if (!S_ISREG(info.st_mode)) return Error{path + " is no regular file", EINVAL};
  return file;
}

Result<std::size_t> read_at(int file, char* to, std::size_t size, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(file, to + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

std::uint64_t file_size(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

Result<void> cut_file(const std::string& path, std::uint64_t size) {
  if (::truncate(path.c_str(), static_cast<off_t>(size)) == 0) return {};
  return Error::from_errno("cut " + path, errno);
}

std::vector<std::string> file_names(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (!open) return names;
  while (const dirent* entry = ::readdir(open.get())) {
    if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) names.emplace_back(entry->d_name);
  }
  return names;
}

void remove_file(const std::string& path) {
  ::unlink(path.c_str());
}

bool is_passing_want(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EAGAIN:
    case EINTR:
      return true;
    default:
      return false;
  }
}

Result<SyncedDirectory> SyncedDirectory::open(const std::string& path) {
  if (const auto made = make_directory(path, 0700); !made) return made.error();
  SyncedDirectory directory(path);
  directory.spare_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.spare_) return Error::from_errno("open " + path, errno);
  return directory;
}

Result<void> SyncedDirectory::sync(const std::string& name) const {
  auto synced = sync_as_file(name);
  const bool is_without_descriptor =
      !synced && (synced.error().errno_value == EMFILE || synced.error().errno_value == ENFILE ||
                  synced.error().errno_value == ENOMEM);
  if (is_without_descriptor && sync_all()) return {};
  return synced;
}

Result<void> SyncedDirectory::sync_as_file(const std::string& name) const {
  const std::string path = path_of(name);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return {};
  if (!file) return Error::from_errno("open " + path, errno);
  int synced = 0;
  do {
    synced = ::fsync(file.get());
  } while (synced != 0 && errno == EINTR);
  if (synced != 0) return Error::from_errno("sync " + path, errno);
  return sync_directory(path_);
}

// Linux 5.8 and later tell here what could not be written.
bool SyncedDirectory::sync_all() const {
  struct stat held {
  }, named{};
  if (!spare_ || ::fstat(spare_.get(), &held) != 0 || ::stat(path_.c_str(), &named) != 0)
    return false;
  return held.st_dev == named.st_dev && ::syncfs(spare_.get()) == 0;
}

}  // namespace mtd::sys
