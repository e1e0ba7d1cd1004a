#include "daemon/keeper/settings.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "daemon/keeper/child.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {
namespace {

bool starts_with(const char* text, const char* prefix) {
  return std::strncmp(text, prefix, std::strlen(prefix)) == 0;
}

// The name that an upgrade opens again: as it was started, so that a link may lead elsewhere then.
void find_program(Settings& settings) {
  constexpr std::size_t kMost = kPathBytes - 1;
  const auto* name = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  char* const path = settings.program;
  if (name == nullptr || starts_with(name, "/dev/fd/") || starts_with(name, "/proc/")) {
    if (readlink("/proc/self/exe", path, kMost) < 0) path[0] = '\0';
    return;
  }
  std::size_t length = 0;
  if (name[0] != '/') {
    if (getcwd(path, kMost) == nullptr) path[0] = '\0';
    length = std::strlen(path);
    if (length == 0 || length + 1 > kMost) return;
    path[length++] = '/';
  }
  if (length + std::strlen(name) > kMost) {
    path[0] = '\0';
    return;
  }
  std::memcpy(path + length, name, std::strlen(name) + 1);
}

void open_programs(Settings& settings) {
  settings.own_program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
  if (settings.own_program < 0) settings.own_program = open(settings.program, O_PATH | O_CLOEXEC);
  settings.role_program = open_role_program(settings);
}

void read_arguments(Settings& settings, char** argv) {
  for (char** at = argv + 1; *at != nullptr && std::strcmp(*at, "--") != 0; ++at) {
    for (const char* asks : {"--check", "--version", "--help", "-h", "-V"}) {
      if (std::strcmp(*at, asks) != 0) continue;
      reset_signals(0);
      for (const auto& path : settings.role_paths)
        execv(path, argv);
      complain("cannot start mtd-supervisor", errno);
      _exit(1);
    }
    const char* value = nullptr;
    if (starts_with(*at, "--ready-fd=")) value = *at + std::strlen("--ready-fd=");
    if (std::strcmp(*at, "--ready-fd") == 0 && at[1] != nullptr) value = *++at;
    if (value == nullptr) continue;
    settings.ready_fd = std::atoi(value);
    if (settings.ready_fd < 1 || fcntl(settings.ready_fd, F_GETFD) < 0) {
      complain("--ready-fd names no open descriptor; a shell opens one: mtd --ready-fd 3 3>FILE",
               0);
      _exit(2);
    }
  }
}

// Takes what is meant for mtd alone out of the environment, in place.
void read_environment(Settings& settings, char** environment) {
  std::uint64_t watchdog = 0;
  bool watchdog_for_us = true;
  bool sockets_for_us = false;
  for (char** at = environment; *at != nullptr; ++at) {
    if (starts_with(*at, "LISTEN_PID="))
      sockets_for_us = std::atoi(*at + std::strlen("LISTEN_PID=")) == getpid();
  }
  char** to = environment;
  for (char** from = environment; *from != nullptr; ++from) {
    if (starts_with(*from, "NOTIFY_SOCKET=")) {
      settings.notify_socket = *from + std::strlen("NOTIFY_SOCKET=");
    } else if (starts_with(*from, "WATCHDOG_USEC=")) {
      watchdog = std::strtoull(*from + std::strlen("WATCHDOG_USEC="), nullptr, 10);
    } else if (starts_with(*from, "WATCHDOG_PID=")) {
      watchdog_for_us = std::atoi(*from + std::strlen("WATCHDOG_PID=")) == getpid();
    } else if (starts_with(*from, "LISTEN_PID=") || starts_with(*from, "LISTEN_PIDFDID=")) {
      continue;
    } else if (starts_with(*from, "LISTEN_FDS=") || starts_with(*from, "LISTEN_FDNAMES=")) {
      if (!sockets_for_us) continue;
      // The role is told under names of ours, MTD_FDS and MTD_FDNAMES, in all its lives.
      std::memcpy(*from + 3, "MTD", 3);
      *to++ = *from + 3;
      if (!starts_with(*from + 3, "MTD_FDS=")) continue;
      const int count = std::atoi(*from + 3 + std::strlen("MTD_FDS="));
      const int most = static_cast<int>(kMaxInherited);
      settings.inherited = count < 0 ? 0 : count > most ? most : count;
    } else {
      *to++ = *from;
    }
  }
  *to = nullptr;
  settings.role_environment = environment;
  constexpr std::uint64_t kMostWatchdog = 3600ULL * 1'000'000;
  if (watchdog_for_us && watchdog > 0) {
    settings.watchdog_usec = watchdog < kMostWatchdog ? watchdog : kMostWatchdog;
  }
}

// Leaves 0–2, sockets of the service manager and --ready-fd, whatever else the parent left open.
void close_inherited(Settings& settings) {
  rlimit64 limit{};
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
  settings.original_nofile_soft = limit.rlim_cur;
  settings.nofile = limit.rlim_max;
  const int first = 3 + settings.inherited;
  for (int fd = 3; fd < first; ++fd)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  int& ready = settings.ready_fd;
  if (ready > first) {
    close_all(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(ready) - 1,
              limit.rlim_max);
  }
  close_all(static_cast<std::uint32_t>(ready >= first ? ready + 1 : first), UINT32_MAX,
            limit.rlim_max);
  if (ready > 2) fcntl(ready, F_SETFD, FD_CLOEXEC);
  limit.rlim_cur = limit.rlim_max;
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
}

std::int32_t read_oom_score_adj() {
  int file = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
  char text[16] = {};
  if (file >= 0) (void)!read(file, text, sizeof text - 1);
  close_fd(file);
  return static_cast<std::int32_t>(std::strtol(text, nullptr, 10));
}

void settle(Settings& settings) {
  settings.start_directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  (void)!chdir("/");
  settings.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (settings.null_fd < 0) {
    complain("cannot open /dev/null", errno);
    _exit(1);
  }
  if (settings.notify_socket != nullptr) {
    settings.notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  }
  settings.oom_score_adj = settings.original_oom_score_adj = read_oom_score_adj();
  if (settings.oom_score_adj > kOwnOomScore && write_oom_score_adj(kOwnOomScore)) {
    settings.oom_score_adj = kOwnOomScore;  // refused: without CAP_SYS_RESOURCE
  }
  settings.subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
  settings.pid1 = getpid() == 1;
  constexpr unsigned long kTimerSlack =
      50'000;  // ns, the kernel's own default; children inherit it
  prctl(PR_SET_TIMERSLACK, kTimerSlack, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  umask(077);
  settings.started_ns = clock_ns(CLOCK_MONOTONIC);
  settings.started_boot_ns = clock_ns(CLOCK_BOOTTIME);
  if (getrandom(&settings.instance, sizeof settings.instance, GRND_NONBLOCK) < 0) {
    settings.instance =
        static_cast<std::uint64_t>(settings.started_ns) << 20 | static_cast<unsigned>(getpid());
  }
}

}  // namespace

// The raw calls, because the libc hides signals 32 and 33, which a parent may have ignored or
// blocked.
void reset_signals(std::uint64_t mask) {
  const std::uint64_t default_action[4] = {};
  for (int number = 1; number <= 64; ++number) {
    syscall(SYS_rt_sigaction, number, default_action, nullptr, sizeof mask);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
}

void find_roles(Settings& settings) {
  char self[400] = {};
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) {
    const auto* name = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
    if (name != nullptr) std::strncpy(self, name, sizeof self - 1);
  }
  char* slash = std::strrchr(self, '/');
  if (slash != nullptr) slash[1] = '\0';
  const auto put = [](char(&path)[kPathBytes], const char* directory) {
    Line line;
    line.put(directory).put("mtd-supervisor");
    std::memcpy(path, line.text(), line.size() + 1);
  };
  put(settings.role_paths[0], slash != nullptr ? self : "./");
  put(settings.role_paths[1], MTD_LIBEXECDIR "/");
  put(settings.role_paths[2], "/usr/libexec/mtd/");
}

const char* take_handover(char** environment) {
  const char* word = nullptr;
  char** to = environment;
  for (char** from = environment; *from != nullptr; ++from) {
    if (starts_with(*from, kHandoverVariable)) {
      word = *from + sizeof kHandoverVariable - 1;
    } else {
      *to++ = *from;
    }
  }
  *to = nullptr;
  return word;
}

void read_settings(Settings& settings, char** argv, char** environment) {
  find_program(settings);
  find_roles(settings);
  read_arguments(settings, argv);
  read_environment(settings, environment);
  close_inherited(settings);
  open_programs(settings);
  settle(settings);
}

}  // namespace mtd::keeper
