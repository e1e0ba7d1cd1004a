// Signals to mtd, and how it ends: at the role's request, or by itself when no role can do it.
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {
namespace {

void on_daemon_signal(Keeper& keeper, const DaemonSignal& signal) {
  if (keeper.ending != Ending::no) {
    if (is_stop(signal)) begin_ending(keeper, Ending::killing, keeper.exit_code);
    return;
  }
  push_daemon_signal(keeper, signal);
  if (signal.signal == SIGHUP && !is_stop(signal)) {
    keeper.reload_unheard = signal;
    return ask_for_pong(keeper);
  }
  if (!is_stop(signal)) return;
  if (keeper.stop_asked && keeper.role.socket < 0) return begin_ending(keeper, Ending::killing, 1);
  if (keeper.role.socket >= 0) ask_for_pong(keeper);
  if (keeper.stop_ack_by_ns == kNever) keeper.stop_ack_by_ns = keeper.now_ns + kTiming.stop_ack;
  keeper.stop_asked = true;
  keeper.stop_signal = signal;
}

void on_child_signal(Keeper& keeper, const signalfd_siginfo& info) {
  reap(keeper, static_cast<int>(info.ssi_pid));
  const std::int64_t wanted = keeper.now_ns + kTiming.scan;
  const std::int64_t at = wanted < keeper.no_scan_before_ns ? keeper.no_scan_before_ns : wanted;
  if (at < keeper.next_scan_ns) keeper.next_scan_ns = at;
}

void on_signal(Keeper& keeper, const signalfd_siginfo& info) {
  const auto number = static_cast<int>(info.ssi_signo);
  if (number == SIGCHLD || number == kUnconfirmedExitSignal) {
    return on_child_signal(keeper, info);
  }
  if (number != SIGTERM && number != SIGINT && number != SIGQUIT && number != SIGHUP &&
      number != SIGUSR1 && number != SIGUSR2 && number != SIGTTIN && number != SIGTTOU) {
    return;
  }
  DaemonSignal message;
  message.header.type = Type::daemon_signal;
  message.header.size = sizeof message;
  message.signal = number;
  message.from_kernel = info.ssi_code > 0 ? 1 : 0;
  message.sender_pid = message.from_kernel != 0 ? 0 : static_cast<std::int32_t>(info.ssi_pid);
  message.sender_uid = message.from_kernel != 0 ? 0 : info.ssi_uid;
  on_daemon_signal(keeper, message);
}

void signal_all(Keeper& keeper, int number) {
  for (std::uint32_t i = 0; i < keeper.table.high_water; ++i) {
    const Process& record = keeper.table.processes[i];
    const EntryState state = record.message.state;
    if (!record.used || state == EntryState::failed || state == EntryState::exited) continue;
    if (kill(-record.message.pid, number) != 0) kill(record.message.pid, number);
  }
}

// Every process below the held directory `pools`, whatever it did to hide.
void kill_cgroup(Keeper& keeper) {
  const HeldRecord* pools = keeper.table.find_held("pools");
  if (pools == nullptr) return;
  int file = openat(pools->fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)!write(file, "1", 1);
  close_fd(file);
}

// Strangers that came to us by the death of their parents, as far as the kernel lists them.
void kill_children(const Keeper& keeper) {
  Line path;
  path.put("/proc/self/task/").number(getpid()).put("/children");
  int file = open(path.text(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[4096];
  int pid = 0;
  for (ssize_t n = read(file, text, sizeof text); n > 0; n = read(file, text, sizeof text)) {
    for (ssize_t i = 0; i < n; ++i) {
      if (text[i] >= '0' && text[i] <= '9') {
        pid = pid * 10 + (text[i] - '0');
        continue;
      }
      if (pid > 1 && pid != keeper.role.pid) kill(pid, SIGKILL);
      pid = 0;
    }
  }
  close_fd(file);
}

void kill_everything(Keeper& keeper) {
  kill_cgroup(keeper);
  signal_all(keeper, SIGKILL);
  if (keeper.settings.pid1 && keeper.role.pid == 0) kill(-1, SIGKILL);
  kill_children(keeper);
}

}  // namespace

void read_signals(Keeper& keeper) {
  signalfd_siginfo infos[16];
  const ssize_t n = read(keeper.signals, infos, sizeof infos);
  for (ssize_t i = 0; i < n / static_cast<ssize_t>(sizeof infos[0]); ++i)
    on_signal(keeper, infos[i]);
}

void begin_ending(Keeper& keeper, Ending how, int code) {
  if (keeper.ending == Ending::killing || how == keeper.ending) return;
  keeper.exit_code = code;
  if (how == Ending::asking) {
    complain("no supervisor ends the workers; mtd does it itself", 0);
    notify_manager(keeper, "STOPPING=1");
    keeper.role.kill_at_ns = keeper.now_ns;
    signal_all(keeper, SIGTERM);
    signal_all(keeper, SIGCONT);
    keeper.ending_step_ns = keeper.now_ns + kTiming.ask;
  } else {
    keeper.ending_step_ns = keeper.now_ns;
    keeper.ending_give_up_ns = keeper.now_ns + kTiming.kill;
    if (keeper.role.kill_at_ns == kNever) keeper.role.kill_at_ns = keeper.now_ns + kTiming.reap;
  }
  keeper.ending = how;
}

void ending_deadlines(Keeper& keeper) {
  if (keeper.ending == Ending::no) return;
  if (everything_ended()) {
    keeper.exit_now = true;
    return;
  }
  if (keeper.now_ns < keeper.ending_step_ns) return;
  if (keeper.ending == Ending::asking) begin_ending(keeper, Ending::killing, keeper.exit_code);
  kill_everything(keeper);
  keeper.ending_step_ns = keeper.now_ns + kTiming.kill_again;
  if (keeper.now_ns < keeper.ending_give_up_ns) return;
  complain("a process does not die; mtd ends without it", 0);
  if (keeper.exit_code == 0) keeper.exit_code = 1;
  keeper.exit_now = true;
}

bool everything_ended() {
  return ended_child(P_ALL, 0, __WALL) < 0;
}

}  // namespace mtd::keeper
