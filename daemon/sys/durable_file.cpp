#include "daemon/sys/durable_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "common/unique_fd.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::sys {
namespace {

Error failed(const char* what, const std::string& path) {
  return Error::from_errno(std::string(what) + " " + path, errno);
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<UniqueFd> open_directory(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return failed("open the state directory", path);
  return directory;
}

}  // namespace

Result<void> write_durably(const std::string& directory, const std::string& name,
                           std::string_view content) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return failed("make the state directory", directory);
  }
  auto opened = open_directory(directory);
  if (!opened) return opened.error();
  const int at = opened->get();
  const std::string draft = name + ".new";
  const std::string path = directory + "/" + draft;
  if (::unlinkat(at, draft.c_str(), 0) != 0 && errno != ENOENT) return failed("remove", path);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const UniqueFd file(::openat(at, draft.c_str(), kFlags, 0600));
  if (!file) return failed("create", path);
  if (auto written = write_all(file.get(), content, path); !written) return written;
  if (::fsync(file.get()) != 0) return failed("sync", path);
  if (::renameat(at, draft.c_str(), at, name.c_str()) != 0) return failed("rename", path);
  if (::fsync(at) != 0) return failed("sync", directory);
  return {};
}

Result<std::string> read_durable(const std::string& directory, const std::string& name,
                                 std::size_t limit) {
  const std::string path = directory + "/" + name;
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const UniqueFd file(::open(path.c_str(), kFlags));
  if (!file && errno == ENOENT) return std::string();
  if (!file) return failed("open", path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failed("look at", path);
  if (!S_ISREG(status.st_mode)) return Error{path + " is not a regular file"};
  if (status.st_uid != own_uid() && status.st_uid != 0) {
    return Error{path + " belongs to uid " + std::to_string(status.st_uid) + ", not to mtd's user"};
  }
  std::string content;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("read", path);
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > limit) {
      return Error{path + " is larger than " + std::to_string(limit) + " bytes"};
    }
  }
}

void set_aside(const std::string& directory, const std::string& name, const std::string& to) {
  (void)::rename((directory + "/" + name).c_str(), (directory + "/" + to).c_str());
}

void keep_newest(const std::string& directory, const std::string& prefix, std::size_t count) {
  DIR* opened = ::opendir(directory.c_str());
  if (opened == nullptr) return;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(opened)) {
    const std::string name = entry->d_name;
    const bool is_file = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
    if (is_file && name.compare(0, prefix.size(), prefix) == 0) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  for (std::size_t i = 0; i + count < names.size(); ++i)
    (void)::unlinkat(::dirfd(opened), names[i].c_str(), 0);
  ::closedir(opened);
}

std::string default_state_dir() {
  if (const std::string given = environment("STATE_DIRECTORY"); !given.empty()) {
    return given.substr(0, given.find(':'));
  }
  if (own_uid() == 0) return "/var/lib/mtd";
  if (const std::string state = environment("XDG_STATE_HOME"); !state.empty())
    return state + "/mtd";
  if (const std::string home = environment("HOME"); !home.empty())
    return home + "/.local/state/mtd";
  return {};
}

}  // namespace mtd::sys
