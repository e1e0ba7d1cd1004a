// mtd: start-up of the keeper, and its loop.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "daemon/keeper/child.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/settings.h"

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

namespace {

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

// Sockets of the service manager, for whatever life of the role asks for them.
void hold_inherited(Keeper& keeper) {
  for (int i = 0; i < keeper.settings.inherited; ++i) {
    if (fcntl(3 + i, F_GETFD) < 0) continue;  // fewer came than were promised
    char name[kHoldNameBytes] = {};
    char* to = name;
    for (const char* from = kInheritedName; *from != '\0'; ++from)
      *to++ = *from;
    if (i >= 10) *to++ = static_cast<char>('0' + i / 10);
    *to = static_cast<char>('0' + i % 10);
    keeper.table.add_held(name)->fd = 3 + i;
  }
}

int wait_milliseconds(Keeper& keeper) {
  if (keeper.table.starting_head == kNone && keeper.next_setup_deadline_ns != kNever) {
    // All that was starting has started: its deadline must not wake an idle daemon.
    keeper.next_setup_deadline_ns = kNever;
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
  read_settings(settings, argv, environment);
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
