// mtd: start-up of the keeper, and its loop.
#include <fcntl.h>
#include <poll.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "daemon/keeper/child.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {

std::int64_t clock_ns(int clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * kSecond + time.tv_nsec;
}

bool watch(Keeper& keeper, int fd, Watched what, std::uint32_t index, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = static_cast<std::uint64_t>(what) << 32 | index;
  return epoll_ctl(keeper.epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

void complain(const char* text, int error) {
  Line line;
  line.put("mtd: ").put(text);
  if (error != 0) {
    const char* reason = strerrordesc_np(error);
    line.put(": ").put(reason != nullptr ? reason : "unknown error");
  }
  line.put("\n");
  // A reader that does not read must not stop us: a pipe that polls writable takes a line at once.
  pollfd target{2, POLLOUT, 0};
  if (poll(&target, 1, 0) == 1 && target.revents == POLLOUT)
    (void)!write(2, line.text(), line.size());
}

namespace {

bool starts_with(const char* text, const char* prefix) {
  return std::strncmp(text, prefix, std::strlen(prefix)) == 0;
}

void open_standard_descriptors() {
  int fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd < 3)
    fd = dup(fd);
  if (fd >= 0) close(fd);
}

// Signals that a fault of our own raises keep their meaning; all others are blocked, and read from
// a descriptor. So a child has nothing to put back but its mask.
std::uint64_t handled_signals() {
  std::uint64_t mask = ~std::uint64_t{0};
  for (const int number : {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS}) {
    mask &= ~(std::uint64_t{1} << (number - 1));
  }
  return mask;
}

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
  std::strncpy(settings.role_paths[0], slash != nullptr ? self : "./", sizeof self);
  std::strcat(settings.role_paths[0], "mtd-supervisor");
  std::strcpy(settings.role_paths[1], MTD_LIBEXECDIR "/mtd-supervisor");
  std::strcpy(settings.role_paths[2], "/usr/libexec/mtd/mtd-supervisor");
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
  std::strcpy(path + length, name);
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
      complain("--ready-fd names no open descriptor", 0);
      _exit(2);
    }
  }
}

// The value of the variable by which a former keeper hands over, taken out of the environment.
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

// Sockets of the service manager, for whatever life of the role asks for them.
void hold_inherited(Keeper& keeper) {
  for (int i = 0; i < keeper.settings.inherited; ++i) {
    if (fcntl(3 + i, F_GETFD) < 0) continue;  // fewer came than were promised
    HeldRecord& record = keeper.table.held[i];
    char* to = record.name;
    for (const char* from = kInheritedName; *from != '\0'; ++from)
      *to++ = *from;
    if (i >= 10) *to++ = static_cast<char>('0' + i / 10);
    *to = static_cast<char>('0' + i % 10);
    record.fd = 3 + i;
  }
}

int wait_milliseconds(const Keeper& keeper) {
  if (keeper.table.starting_head == kNone && keeper.next_setup_deadline_ns != kNever) {
    // All that was starting has started: its deadline must not wake an idle daemon.
    const_cast<Keeper&>(keeper).next_setup_deadline_ns = kNever;
  }
  std::int64_t next = kNever;
  const Role& role = keeper.role;
  const std::int64_t of_role[] = {role.unread_check_ns, role.pong_by_ns, role.kill_at_ns,
                                  role.fence_at_ns};
  const std::int64_t others[] = {
      keeper.next_setup_deadline_ns, keeper.next_scan_ns,
      keeper.next_watchdog_ns,       keeper.announce_ready_at_ns,
      keeper.ending_step_ns,         keeper.stop_ack_by_ns,
      keeper.upgrade.by_ns,          role.pid == 0 ? role.start_at_ns : kNever};
  for (const std::int64_t one : others)
    next = one < next ? one : next;
  if (role.pid != 0) {
    for (const std::int64_t one : of_role)
      next = one < next ? one : next;
  }
  if (next == kNever) return -1;
  const std::int64_t now = clock_ns(CLOCK_MONOTONIC);
  if (next <= now) return 0;
  const std::int64_t wait = (next - now + kMillisecond - 1) / kMillisecond;
  return wait < INT_MAX ? static_cast<int>(wait) : INT_MAX;
}

// One kind after the other: exec is seen before the exit of the same turn, requests come last, so
// that no record is freed and taken again while an event for it is still to be looked at.
void dispatch(Keeper& keeper, const epoll_event* events, int count) {
  for (const Watched kind : {Watched::exec_pipe, Watched::signals, Watched::role_socket}) {
    for (int i = 0; i < count; ++i) {
      if (static_cast<Watched>(events[i].data.u64 >> 32) != kind) continue;
      const auto index = static_cast<std::uint32_t>(events[i].data.u64);
      switch (kind) {
        case Watched::exec_pipe:
          on_exec_pipe(keeper, index);
          break;
        case Watched::signals:
          read_signals(keeper);
          break;
        case Watched::role_socket:
          if ((events[i].events & EPOLLOUT) != 0) write_out(keeper);
          if ((events[i].events & EPOLLHUP) != 0) keeper.role.reading = true;  // to its end
          read_requests(keeper);
          break;
      }
    }
  }
}

int run(Keeper& keeper) {
  epoll_event events[64];
  while (!keeper.exit_now) {
    write_out(keeper);
    const int count = epoll_wait(keeper.epoll, events, 64, wait_milliseconds(keeper));
    keeper.now_ns = clock_ns(CLOCK_MONOTONIC);
    if (count > 0) dispatch(keeper, events, count);
    scan_children(keeper);
    kill_overdue(keeper);
    watchdog_tick(keeper);
    if (keeper.now_ns >= keeper.announce_ready_at_ns) announce_ready(keeper);
    role_deadlines(keeper);
    upgrade_deadlines(keeper);
    ending_deadlines(keeper);
  }
  return keeper.exit_code;
}

// The exit code when there is nothing to run.
int start(Keeper& keeper, char** argv, char** environment) {
  Settings& settings = keeper.settings;
  find_program(settings);
  find_roles(settings);
  read_arguments(settings, argv);
  read_environment(settings, environment);
  close_inherited(settings);
  open_programs(settings);
  settle(settings);
  const std::uint64_t most = settings.nofile < UINT32_MAX ? settings.nofile : UINT32_MAX;
  const std::uint64_t room = most > kReservedFds + 16 ? most - kReservedFds : 16;
  if (!open_loop(keeper)) {
    complain("cannot start", errno);
    return 1;
  }
  if (!keeper.table.map(static_cast<std::uint32_t>(room))) {
    complain("no memory for the process table", errno);
    return 1;
  }
  hold_inherited(keeper);
  keeper.now_ns = clock_ns(CLOCK_MONOTONIC);
  if (settings.watchdog_usec != 0) {
    keeper.next_watchdog_ns =
        keeper.now_ns + static_cast<std::int64_t>(settings.watchdog_usec * 500);
  }
  start_role(keeper);
  return 0;
}

}  // namespace

bool open_loop(Keeper& keeper) {
  const std::uint64_t mask = handled_signals();
  sigset_t handled;
  static_assert(sizeof handled >= sizeof mask);
  std::memset(&handled, 0, sizeof handled);
  std::memcpy(&handled, &mask, sizeof mask);
  keeper.epoll = epoll_create1(EPOLL_CLOEXEC);
  keeper.signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
  return keeper.epoll >= 0 && keeper.signals >= 0 &&
         watch(keeper, keeper.signals, Watched::signals, 0, EPOLLIN);
}

}  // namespace mtd::keeper

int main(int argc, char** argv, char** environment) {
  using namespace mtd::keeper;
  if (argc < 1) return 2;
  if (argc > 1 && std::strcmp(argv[1], "--self-test") == 0) return self_test();
  Keeper keeper;
  keeper.settings.argv = argv;
  if (const char* word = take_handover(environment); word != nullptr) {
    // Signals are blocked already, and stay so: none is lost.
    keeper.settings.role_environment = environment;
    find_roles(keeper.settings);
    if (!take_over(keeper, word)) return 1;
    return run(keeper);
  }
  open_standard_descriptors();
  reset_signals(handled_signals());
  const int code = start(keeper, argv, environment);
  return code != 0 ? code : run(keeper);
}
