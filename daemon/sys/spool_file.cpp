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

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) {
    if (errno == ENOENT) return std::string();
    return Error::from_errno("open " + path, errno);
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return Error::from_errno("look at " + path, errno);
  if (!S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) > limit)
    return Error{path + " is no file of at most " + std::to_string(limit) + " bytes", EFBIG};
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t size = ::read(file.get(), text.data() + done, text.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Error::from_errno("read " + path, errno);
    if (size == 0) break;
    done += static_cast<std::size_t>(size);
  }
  text.resize(done);
  return text;
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
