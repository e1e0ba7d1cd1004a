#include "daemon/sys/privileges.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "daemon/sys/durable_directory.h"

namespace mtd::sys {

namespace {

// The directory in which others have one: they may pass through it, and see nothing of it.
Result<void> open_way(const std::string& path) {
  const auto made = make_directory(path, 0711);
  if (!made) return made.error();
  if (*made) return {};
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!directory || ::fstat(directory.get(), &info) != 0)
    return Error::from_errno("open " + path, errno);
  constexpr mode_t kPass = S_IXGRP | S_IXOTH;
  if (info.st_uid != ::geteuid() || (info.st_mode & kPass) == kPass) return {};
  if (::fchmod(directory.get(), (info.st_mode & 07777) | kPass) != 0)
    return Error::from_errno("let others pass through " + path, errno);
  return {};
}

}  // namespace

Result<void> own_directory(const std::string& path, std::optional<std::pair<uid_t, gid_t>> ids) {
  const std::string parent = path.substr(0, path.rfind('/'));
  if (ids && !parent.empty()) {
    if (const auto opened = open_way(parent); !opened) return opened;
  } else if (!parent.empty()) {
    if (const auto made = make_directory(parent, 0700); !made) return made.error();
  }
  if (const auto made = make_directory(path, 0700); !made) return made.error();
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return Error::from_errno("open " + path, errno);
  struct stat info {};
  if (::fstat(directory.get(), &info) != 0) return Error::from_errno("look at " + path, errno);
  const uid_t owner = ids ? ids->first : ::geteuid();
  if (info.st_uid == owner) return {};
  if (info.st_uid != ::geteuid() || !ids) {
    return Error{path + " belongs to uid " + std::to_string(info.st_uid) + ", not to uid " +
                     std::to_string(owner),
                 EPERM};
  }
  if (::fchown(directory.get(), ids->first, ids->second) != 0)
    return Error::from_errno("give " + path + " to uid " + std::to_string(owner), errno);
  return {};
}

Result<void> find_way(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string above = path.substr(0, slash);
    if (::faccessat(AT_FDCWD, above.c_str(), X_OK, AT_EACCESS) == 0) continue;
    return Error{"uid " + std::to_string(::geteuid()) + ", which keeps the tasks, may not pass " +
                     "through " + above + " to " + path,
                 errno};
  }
  return {};
}

Result<void> become(uid_t uid, gid_t gid) {
  if (::setgroups(0, nullptr) != 0) return Error::from_errno("give up the groups", errno);
  if (::setresgid(gid, gid, gid) != 0) return Error::from_errno("change the group", errno);
  if (::setresuid(uid, uid, uid) != 0) return Error::from_errno("change the user", errno);
  if (uid != 0 && ::setuid(0) == 0) return Error{"root is not given up", EPERM};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return Error::from_errno("refuse new privileges", errno);
  return {};
}

void become_opaque() {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

std::uint64_t own_descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

void set_process_name(const char* name) {
  ::prctl(PR_SET_NAME, name);
}

void ignore_strange_signals() {
  for (const int number :
       {SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGIO, SIGPWR, SIGSTKFLT}) {
    (void)::signal(number, SIG_IGN);
  }
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number)
    (void)::signal(number, SIG_IGN);
}

}  // namespace mtd::sys
