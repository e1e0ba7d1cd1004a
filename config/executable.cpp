#include "config/executable.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "common/escape.h"

namespace mtd::config {
namespace {

std::string quoted(std::string_view text) {
  return "\"" + escape_for_terminal(text.substr(0, 256)) + "\"";
}

// Empty: it can be executed.
Result<void> check(const std::string& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return Error::from_errno(quoted(file), errno);
  if (S_ISDIR(info.st_mode))
    return Error{quoted(file) + " is a directory; name a program in it", EISDIR};
  if (!S_ISREG(info.st_mode)) return Error{quoted(file) + " is no regular file", EACCES};
  if ((info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0) {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(info.st_mode & 07777));
    return Error{quoted(file) + " is not executable (mode " + mode.data() + "); run chmod +x on it",
                 EACCES};
  }
  return {};
}

Result<std::string> checked(const std::string& file) {
  const auto usable = check(file);
  if (!usable) return usable.error();
  return file;
}

}  // namespace

Result<std::string> find_executable(const std::string& program, std::string_view path,
                                    const std::string& directory) {
  if (program.empty()) return Error{"the program is an empty text; name one"};
  if (program.front() == '/') return checked(program);
  if (program.find('/') != std::string::npos) {
    if (directory.empty()) {
      return Error{
          quoted(program) +
          " is relative to a cwd that differs from worker to worker; write an absolute path"};
    }
    return checked(directory + (directory.back() == '/' ? "" : "/") + program);
  }
  Result<std::string> best =
      Error{quoted(program) + " is not in the worker's PATH " + quoted(path)};
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const std::string folder(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    if (folder.empty() || folder.front() != '/')
      continue;  // relative: differs from worker to worker
    const std::string file = folder + (folder.back() == '/' ? "" : "/") + program;
    const auto usable = check(file);
    if (usable) return file;
    if (usable.error().errno_value == EACCES) best = usable.error();
  }
  return best;
}

}  // namespace mtd::config
