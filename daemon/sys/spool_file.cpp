#include "daemon/sys/spool_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "common/unique_fd.h"

namespace mtd::sys {

Result<void> make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Error::from_errno("make " + path, errno);
}

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

Result<void> sync_file(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return {};
  if (!file || ::fsync(file.get()) != 0) return Error::from_errno("sync " + path, errno);
  const UniqueFd above(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!above || ::fsync(above.get()) != 0) return Error::from_errno("sync " + directory, errno);
  return {};
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

}  // namespace mtd::sys
