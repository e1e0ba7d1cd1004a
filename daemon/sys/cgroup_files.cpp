#include "daemon/sys/cgroup_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <memory>

#include "daemon/sys/cgroup.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMaxPids = 10'000;
constexpr int kMaxDepth = 16;  // of directories a worker makes below its own
constexpr int kEndRoundMs = 100;

void append_pids_below(int directory, std::vector<pid_t>& pids, int depth) {
  const auto text = read_small_file_at(directory, "cgroup.procs", 1 << 20);
  if (text) {
    const char* at = text->data();
    const char* end = at + text->size();
    while (at < end && pids.size() < kMaxPids) {
      pid_t pid = 0;
      const auto parsed = std::from_chars(at, end, pid);
      if (parsed.ec != std::errc()) break;
      if (pid > 0) pids.push_back(pid);  // 0: a process outside our pid namespace
      at = parsed.ptr + 1;
    }
  }
  // Two links, and one for each directory below (kernfs): most have none.
  struct stat info {};
  if (depth >= kMaxDepth || ::fstat(directory, &info) != 0 || info.st_nlink <= 2) return;
  each_subdirectory(directory, [&](const char* name) {
    const UniqueFd child = open_cgroup(directory, name);
    if (child) append_pids_below(child.get(), pids, depth + 1);
  });
}

Result<void> remove_below(int parent, const char* name, int depth) {
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  const int error = errno;
  if (error == EBUSY && depth < kMaxDepth) {
    const UniqueFd directory = open_cgroup(parent, name);
    if (directory) {
      each_subdirectory(directory.get(), [&](const char* child) {
        (void)remove_below(directory.get(), child, depth + 1).has_value();
      });
    }
    if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  }
  return Error::from_errno(std::string("remove cgroup ") + name, errno);
}

}  // namespace

std::string own_cgroup_name(std::uint64_t instance) {
  std::array<char, 21> text{};
  std::snprintf(text.data(), text.size(), "mtd.%016llx", static_cast<unsigned long long>(instance));
  return text.data();
}

bool is_own_cgroup_name(std::string_view name) {
  return name.size() == 20 && name.substr(0, 4) == "mtd." &&
         name.find_first_not_of("0123456789abcdef", 4) == std::string_view::npos;
}

UniqueFd open_cgroup(int at, const char* path) {
  return UniqueFd(::openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

Result<void> write_cgroup_file(int directory, const char* file, std::string_view text) {
  const UniqueFd target(::openat(directory, file, O_WRONLY | O_CLOEXEC));
  if (!target) return Error::from_errno(std::string("open ") + file, errno);
  if (::write(target.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return {};
  return Error::from_errno(std::string("write ") + file, errno);
}

Result<void> move_into_cgroup(int directory, pid_t pid) {
  return write_cgroup_file(directory, "cgroup.procs", std::to_string(pid));
}

void each_subdirectory(int directory, const std::function<void(const char* name)>& visit) {
  UniqueFd copy = open_cgroup(directory, ".");
  if (!copy) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy.get()), ::closedir);
  if (!stream) return;
  (void)copy.release();
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    visit(entry->d_name);
  }
}

void append_pids(int directory, std::vector<pid_t>& pids) {
  append_pids_below(directory, pids, 0);
}

Result<void> remove_cgroup(int parent, const char* name) {
  return remove_below(parent, name, 0);
}

bool is_alone(int directory, pid_t keeper) {
  const auto text = read_small_file_at(directory, "cgroup.procs", 1 << 20);
  if (!text) return false;
  const char* at = text->data();
  const char* end = at + text->size();
  while (at < end) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec != std::errc()) break;
    if (pid != keeper && pid != ::getpid()) return false;
    at = parsed.ptr + 1;
  }
  return true;
}

bool is_populated(int directory, const char* name) {
  const std::string path = std::string(name) + "/cgroup.events";
  const UniqueFd events(::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC));
  return events && CgroupTree::populated_fd(events.get());
}

void end_below(int directory, const std::string& hierarchy, int& rounds) {
  const UniqueFd events(::openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC));
  const auto is_below = [&](const std::string& path) {
    return path.compare(0, hierarchy.size(), hierarchy) == 0 &&
           (path.size() == hierarchy.size() || path[hierarchy.size()] == '/');
  };
  while (events && CgroupTree::populated_fd(events.get())) {
    if (!write_cgroup_file(directory, "cgroup.kill", "1")) {
      std::vector<pid_t> living;
      append_pids(directory, living);
      for (const pid_t pid : living) {
        const UniqueFd pidfd = open_pidfd(pid);
        // The pid may have been used again since it was listed.
        if (pidfd && is_below(unified_cgroup_of(pid)))
          (void)signal_pidfd(pidfd, SIGKILL).has_value();
      }
    }
    if (rounds <= 0) return;
    --rounds;
    pollfd change{events.get(), POLLPRI, 0};
    ::poll(&change, 1, kEndRoundMs);
  }
}

}  // namespace mtd::sys
