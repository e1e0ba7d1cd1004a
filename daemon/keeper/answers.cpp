// What the role is told. Nothing is queued: everything is read from the table at the moment the
// socket takes it, and what it does not take now is still in the table later.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

// False when the socket does not take it now.
bool send_message(Keeper& keeper, const void* bytes, std::size_t size, int fd) {
  iovec part{const_cast<void*>(bytes), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  if (sendmsg(keeper.role.socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return false;
  if (keeper.role.unread_check_ns == kNever)
    keeper.role.unread_check_ns = keeper.now_ns + kTiming.unread_check;
  return true;
}

bool write_hello(Keeper& keeper) {
  if (!keeper.role.hello_wanted) return true;
  const Settings& settings = keeper.settings;
  Hello hello;
  hello.header.type = Type::hello;
  hello.header.size = sizeof hello;
  hello.epoch = keeper.role.epoch;
  hello.instance = settings.instance;
  hello.keeper_started_ns = settings.started_ns;
  hello.keeper_started_boot_ns = settings.started_boot_ns;
  hello.capacity = keeper.table.capacity;
  hello.keeper_pid = getpid();
  hello.entries = keeper.table.used;
  hello.under_service_manager = settings.notify_socket != nullptr ? 1 : 0;
  hello.watchdog_usec = settings.watchdog_usec;
  hello.original_nofile_soft = settings.original_nofile_soft;
  hello.original_oom_score_adj = settings.original_oom_score_adj;
  hello.is_pid1 = settings.pid1 ? 1 : 0;
  hello.subreaper = settings.subreaper ? 1 : 0;
  hello.oom_score_adj = settings.oom_score_adj;
  if (!send_message(keeper, &hello, sizeof hello, -1)) return false;
  keeper.role.hello_wanted = false;
  return true;
}

bool write_answer(Keeper& keeper) {
  Role& role = keeper.role;
  if (!role.answer_waiting) return true;
  const std::uint32_t size = role.answer.ack.header.size;
  if (!send_message(keeper, &role.answer, size, role.answer_fd)) return false;
  drop_answer(role);
  return true;
}

bool write_entry(Keeper& keeper, std::uint32_t index) {
  Entry& entry = keeper.table.processes[index].message;
  if (!send_message(keeper, &entry, sizeof entry, -1)) return false;
  entry.header.serial = 0;
  return true;
}

bool write_list(Keeper& keeper) {
  Role& role = keeper.role;
  if (!role.list_wanted) return true;
  for (; role.list_cursor < keeper.table.high_water; ++role.list_cursor) {
    if (!keeper.table.processes[role.list_cursor].used) continue;
    if (!write_entry(keeper, role.list_cursor)) return false;
  }
  ListEnd end;
  end.header.type = Type::list_end;
  end.header.size = sizeof end;
  end.header.serial = role.list_serial;
  end.sequence = keeper.table.change;
  if (!send_message(keeper, &end, sizeof end, -1)) return false;
  role.list_wanted = false;
  role.listed = true;
  return true;
}

bool write_unasked(Keeper& keeper) {
  Role& role = keeper.role;
  if (role.deaths_wanted) {
    keeper.deaths.header.type = Type::deaths;
    keeper.deaths.header.size = sizeof(Deaths);
    if (!send_message(keeper, &keeper.deaths, sizeof(Deaths), -1)) return false;
    role.deaths_wanted = false;
  }
  while (keeper.pending_count > 0) {
    if (!send_message(keeper, &keeper.pending[0], sizeof(DaemonSignal), -1)) return false;
    std::memmove(&keeper.pending[0], &keeper.pending[1],
                 --keeper.pending_count * sizeof(DaemonSignal));
  }
  if (role.ping_wanted) {
    Ping ping;
    ping.header.type = Type::ping;
    ping.header.size = sizeof ping;
    ping.header.serial = role.ping_serial;
    if (!send_message(keeper, &ping, sizeof ping, -1)) return false;
    role.ping_wanted = false;
  }
  if (role.orphans_wanted) {
    keeper.orphans.header.type = Type::orphans;
    keeper.orphans.header.size = sizeof(Orphans);
    if (!send_message(keeper, &keeper.orphans, sizeof(Orphans), -1)) return false;
    role.orphans_wanted = false;
  }
  return true;
}

bool write_upgrade(Keeper& keeper) {
  Role& role = keeper.role;
  if (role.programs_wanted) {
    Programs programs;
    programs.header.type = Type::programs;
    programs.header.size = sizeof programs;
    std::memcpy(programs.version, kVersion, strnlen(kVersion, sizeof programs.version - 1));
    std::memcpy(programs.path, keeper.settings.program, sizeof programs.path);
    if (!send_message(keeper, &programs, sizeof programs, -1)) return false;
    role.programs_wanted = false;
  }
  if (role.upgrade_wanted) {
    UpgradeState& state = keeper.upgrade.state;
    if (!send_message(keeper, &state, sizeof state, -1)) return false;
    role.upgrade_wanted = false;
    role.knows_upgrade = state.step == UpgradeStep::done || state.step == UpgradeStep::failed;
    if (role.knows_upgrade && role.ready) state.fresh = 0;
  }
  return true;
}

bool write_dirty(Keeper& keeper) {
  for (std::uint32_t i = keeper.table.dirty_head; i != kNone; i = keeper.table.dirty_head) {
    if (!write_entry(keeper, i)) return false;
    keeper.table.take_dirty();
  }
  return true;
}

}  // namespace

void drop_answer(Role& role) {
  if (role.answer_fd_owned) close_fd(role.answer_fd);
  role.answer_waiting = role.answer_fd_owned = false;
  role.answer_fd = -1;
}

void write_out(Keeper& keeper) {
  Role& role = keeper.role;
  if (role.socket < 0) return;
  const bool all = write_hello(keeper) && write_upgrade(keeper) && write_answer(keeper) &&
                   write_unasked(keeper) && write_list(keeper) && write_dirty(keeper);
  role.reading = all && keeper.upgrade.phase != UpgradePhase::draining;
  epoll_event event{};
  if (role.reading) event.events |= EPOLLIN;
  if (!all) event.events |= EPOLLOUT;
  if (event.events == role.watched) return;
  role.watched = event.events;
  event.data.u64 = static_cast<std::uint64_t>(Watched::role_socket) << 32;
  for (int tries = 0; epoll_ctl(keeper.epoll, EPOLL_CTL_MOD, role.socket, &event) != 0; ++tries) {
    if (tries == 3) {  // it takes no memory, so it never comes to this: the next life hears all
      role.kill_at_ns = keeper.now_ns;
      return;
    }
  }
}

void push_daemon_signal(Keeper& keeper, const DaemonSignal& signal) {
  if (keeper.pending_count == kPendingSignals) {  // the role does not even read
    if (!is_stop(signal)) return;
    --keeper.pending_count;
  }
  keeper.pending[keeper.pending_count++] = signal;
}

}  // namespace mtd::keeper
