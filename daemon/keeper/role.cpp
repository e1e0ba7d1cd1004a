// The supervisor's lives: start, the suspicion that it hangs, death, and the next one.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>

#include "daemon/keeper/child.h"
#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

constexpr std::uint32_t kDeathsAMinute = 60;  // restarted at once up to here
constexpr int kSocketBytes = 1 << 20;         // a list of 10 000 is written in a few turns

// Taken once, so that a replaced file is started by an upgrade only. But where the one that runs
// crashes over and over, what an operator has put at its place since can only be better.
void choose_role_program(Keeper& keeper) {
  Settings& settings = keeper.settings;
  if (settings.role_program >= 0 && keeper.role.backoff_ns == 0) return;
  int fresh = open_role_program(settings);
  if (fresh < 0) return;
  close_fd(settings.role_program);
  settings.role_program = fresh;
}

void forget_process(Keeper& keeper) {
  Role& role = keeper.role;
  drop_session(keeper);
  role.pid = 0;
  role.ready = false;
  role.pong_by_ns = role.kill_at_ns = role.fence_at_ns = kNever;
}

// As much as is allowed: with the usual size keeper and supervisor take turns for every 64 entries.
void widen(int socket) {
  const int bytes = kSocketBytes;
  if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void plan_restart(Keeper& keeper) {
  Role& role = keeper.role;
  const std::uint64_t before = keeper.deaths.total - 1;
  std::int64_t& oldest = role.deaths_ns[before % kDeathsAMinute];
  const bool many = before >= kDeathsAMinute && keeper.now_ns - oldest < kTiming.death_window;
  oldest = keeper.now_ns;
  if (!many || keeper.now_ns - role.started_ns >= kTiming.stable_after) {
    role.backoff_ns = 0;
  } else {
    role.backoff_ns = role.backoff_ns == 0 ? kTiming.first_backoff : role.backoff_ns * 2;
    if (role.backoff_ns > kTiming.max_backoff) role.backoff_ns = kTiming.max_backoff;
  }
  role.start_at_ns = keeper.now_ns + role.backoff_ns;
  if (!keeper.stop_asked) return;
  if (keeper.stop_retried) return begin_ending(keeper, Ending::asking, 1);
  keeper.stop_retried = true;
}

constexpr int kNotLoaded = 127;  // of the dynamic loader: a library is missing, or no memory

// Is the death of the first supervisor the answer to the command line or the configuration?
bool ends_daemon(const Keeper& keeper, int status, int& code) {
  if (keeper.role.epoch != 1 || keeper.announced_ready || !WIFEXITED(status)) return false;
  if (keeper.table.role_note->failed) {
    complain("cannot start mtd-supervisor", keeper.table.role_note->error);
    code = 1;
    return true;
  }
  code = WEXITSTATUS(status);
  if (code == kNotLoaded) {  // nobody is there yet for whom to try on
    complain("mtd-supervisor cannot be loaded", 0);
    code = 1;
    return true;
  }
  return code == 2 || code == 8 || code == 9 || code == kMismatchExit;
}

void suspect_hang(Keeper& keeper) {
  Role& role = keeper.role;
  if (keeper.now_ns >= role.unread_check_ns) {
    role.unread_check_ns = kNever;
    int unread = 0;
    if (role.socket >= 0 && ioctl(role.socket, SIOCOUTQ, &unread) == 0 && unread > 0 &&
        role.pong_by_ns == kNever) {
      ask_for_pong(keeper);  // so much unread may be a busy moment; ten seconds more are not
      role.pong_by_ns = keeper.now_ns + kTiming.pong;
    }
  }
  if (keeper.now_ns >= role.pong_by_ns) {
    role.pong_by_ns = kNever;
    role.hung = true;
    notify_manager(keeper,
                   "STATUS=The supervisor does not answer and is being ended; all workers run on");
    kill(role.pid, SIGABRT);
    role.kill_at_ns = keeper.now_ns + kTiming.abort;
  }
  if (keeper.now_ns >= role.kill_at_ns) {
    role.kill_at_ns = kNever;
    role.hung = true;
    kill(role.pid, SIGKILL);
    role.fence_at_ns = keeper.now_ns + kTiming.reap;
  }
  if (keeper.now_ns >=
      role.fence_at_ns) {  // stuck in the kernel: reaped as a stranger when it ends
    const int pid = role.pid;
    forget_process(keeper);
    if (keeper.ending != Ending::no) return;
    record_death(keeper, pid, 0, true);
    plan_restart(keeper);
  }
}

void stop_deadline(Keeper& keeper) {
  if (keeper.now_ns < keeper.stop_ack_by_ns) return;
  keeper.stop_ack_by_ns = kNever;
  if (keeper.stop_retried || keeper.role.pid == 0) return begin_ending(keeper, Ending::asking, 1);
  keeper.role.kill_at_ns = keeper.now_ns;  // on_role_exit starts the second and last try
}

}  // namespace

void ask_for_pong(Keeper& keeper) {
  keeper.role.ping_wanted = true;
  ++keeper.role.ping_serial;
}

int open_role_program(const Settings& settings) {
  for (const auto& path : settings.role_paths) {
    const int program = open(path, O_PATH | O_CLOEXEC);
    if (program >= 0 || errno != ENOENT) return program;
  }
  return -1;
}

void start_role(Keeper& keeper) {
  Role& role = keeper.role;
  choose_role_program(keeper);
  upgrade_role_starts(keeper);
  drop_answer(role);
  role.start_at_ns = kNever;
  int ends[2] = {-1, -1};
  *keeper.table.role_note = ChildNote();
  Clone child;
  close_fd(role.spare);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    child.error = errno;
  } else {
    child = clone_child(keeper.kernel, -1);
    if (child.pid == 0) {
      run_role_child(keeper.settings, *keeper.table.role_note, ends[1], role_program(keeper));
    }
  }
  close_fd(ends[1]);
  role.spare = fcntl(keeper.settings.null_fd, F_DUPFD_CLOEXEC, 0);
  if (child.pid < 0) {
    close_fd(ends[0]);
    role.start_at_ns = keeper.now_ns + kTiming.first_backoff;
    return;
  }
  ++role.epoch;
  role.pid = child.pid;
  role.socket = ends[0];
  widen(role.socket);
  role.started_ns = keeper.now_ns;
  role.reading = true;
  role.ready = role.listed = role.list_wanted = role.ping_wanted = role.knows_upgrade = false;
  role.hung = false;
  role.hello_wanted = true;
  role.deaths_wanted = keeper.deaths.total > 0;
  role.programs_wanted = true;
  role.upgrade_wanted = keeper.upgrade.state.number > 0;
  role.watched = EPOLLIN;
  if (!watch(keeper, role.socket, Watched::role_socket, 0, EPOLLIN))
    role.kill_at_ns = keeper.now_ns;
  if (keeper.reload_unheard.signal != 0) push_daemon_signal(keeper, keeper.reload_unheard);
  if (!keeper.stop_asked) return;
  keeper.pending_count = 0;
  ask_for_pong(keeper);
  push_daemon_signal(keeper, keeper.stop_signal);
  keeper.stop_ack_by_ns = keeper.now_ns + kTiming.stop_ack;
}

// Serials of an earlier conversation mean nothing to the next one.
void drop_session(Keeper& keeper) {
  Role& role = keeper.role;
  if (role.socket < 0) return;
  close_fd(role.socket);
  role.unread_check_ns = kNever;
  drop_answer(role);
  role.list_wanted = false;
  for (std::uint32_t i = 0; i < keeper.table.high_water; ++i) {
    keeper.table.processes[i].message.header.serial = 0;
  }
  if (role.kill_at_ns == kNever)
    role.kill_at_ns = keeper.now_ns + kTiming.reap;  // it should be dying
}

void on_role_exit(Keeper& keeper) {
  Role& role = keeper.role;
  int status = 0;
  if (role.pid == 0 || wait_now(role.pid, status, nullptr) == 0) return;
  discard_requests(keeper);
  int code = 0;
  const int pid = role.pid;
  const bool last = ends_daemon(keeper, status, code);
  forget_process(keeper);
  if (keeper.ending != Ending::no) return;
  if (last) return begin_ending(keeper, Ending::killing, code);
  if (upgrade_role_exit(keeper, status)) {
    role.start_at_ns = keeper.now_ns;
    return;
  }
  record_death(keeper, pid, status, false);
  plan_restart(keeper);
}

void role_deadlines(Keeper& keeper) {
  if (keeper.role.pid != 0) suspect_hang(keeper);
  if (keeper.ending != Ending::no) return;
  stop_deadline(keeper);
  if (keeper.ending == Ending::no && keeper.role.pid == 0 &&
      keeper.now_ns >= keeper.role.start_at_ns) {
    start_role(keeper);
  }
}

}  // namespace mtd::keeper
