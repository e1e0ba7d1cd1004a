#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <ctime>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

constexpr int kScanBatch = 64;  // children a turn; then the role is told of them
constexpr int kScanShare = 20;  // of the time is the most that vain looks may take: one in twenty

std::int64_t microseconds(const timeval& time) {
  return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec;
}

// Ended by the keeper before it was seen to execute: whatever it had come to, it is no crash.
bool is_own_kill(const Process& record, int wait_status) {
  return record.killed_for != 0 && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
}

void classify(const Process& record, Entry& entry) {
  entry.stage = record.note.stage;
  entry.error = record.note.error;
  if (record.note.failed) {
    entry.outcome = Outcome::setup_failed;
  } else if (is_own_kill(record, entry.wait_status)) {
    entry.outcome = Outcome::setup_failed;
    entry.error = record.killed_for;
  } else if (entry.executed != 0 || WIFEXITED(entry.wait_status)) {
    entry.outcome = Outcome::program;
    entry.stage = Stage::none;
  } else {
    entry.outcome = entry.stage == Stage::exec ? Outcome::unknown : Outcome::setup_failed;
  }
}

void reap_stranger(Keeper& keeper, int pid) {
  int status = 0;
  if (wait_now(pid, status, nullptr) != pid) return;
  ++keeper.orphans.total;
  keeper.orphans.last_pid = pid;
  keeper.orphans.last_wait_status = status;
  keeper.role.orphans_wanted = true;
}

}  // namespace

int wait_now(int pid, int& status, rusage* usage) {
  int got = 0;
  do {
    got = wait4(pid, &status, WNOHANG | __WALL, usage);
  } while (got < 0 && errno == EINTR);
  return got;
}

int ended_child(idtype_t which, int pid, int options) {
  siginfo_t info{};
  int done = 0;
  do {
    done = waitid(which, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT | options);
  } while (done != 0 && errno == EINTR);
  return done == 0 ? info.si_pid : -1;
}

void on_exec_pipe(Keeper& keeper, std::uint32_t index) {
  Process& record = keeper.table.processes[index];
  if (!record.used || record.exec_pipe < 0) return;
  close_fd(record.exec_pipe);
  if (record.killed_for != 0) return;  // the pipe of one that is being killed says nothing
  // Without __WALL only a child whose exit signal is SIGCHLD is looked at: one that has executed.
  if (ended_child(P_PID, record.message.pid, 0) != 0) return;
  record.message.executed = 1;
  record.message.executed_ns = keeper.now_ns;
  record.message.state = EntryState::running;
  record.message.stage = Stage::none;
  keeper.table.unlink_starting(index);
  keeper.table.changed(index);
}

void on_process_exit(Keeper& keeper, std::uint32_t index) {
  Process& record = keeper.table.processes[index];
  Entry& entry = record.message;
  if (!record.used || entry.state == EntryState::exited || entry.state == EntryState::failed)
    return;
  // It may have executed and ended before either was seen. Execution is what made SIGCHLD its exit
  // signal; without __WALL no other child is looked at.
  const bool has_executed = entry.executed != 0 || ended_child(P_PID, entry.pid, 0) == entry.pid;
  rusage usage{};
  const int got = wait_now(entry.pid, entry.wait_status, &usage);
  if (got == 0) return;
  if (got == entry.pid) {
    if (has_executed && entry.executed == 0 && !is_own_kill(record, entry.wait_status)) {
      entry.executed = 1;
      entry.executed_ns = keeper.now_ns;
    }
    classify(record, entry);
  } else {  // someone traced it away: that it is gone is all that is known
    entry.outcome = Outcome::unknown;
    entry.error = ECHILD;
  }
  keeper.table.unlink_starting(index);
  keeper.table.unset_pid(index);
  close_fd(record.exec_pipe);
  entry.state = EntryState::exited;
  entry.exited_ns = keeper.now_ns;
  entry.exited_realtime_ns = clock_ns(CLOCK_REALTIME);
  entry.user_cpu_us = microseconds(usage.ru_utime);
  entry.system_cpu_us = microseconds(usage.ru_stime);
  entry.max_rss_kib = usage.ru_maxrss;
  keeper.table.changed(index);
}

void kill_overdue(Keeper& keeper) {
  if (keeper.now_ns < keeper.next_setup_deadline_ns) return;
  keeper.next_setup_deadline_ns = kNever;
  Table& table = keeper.table;
  std::uint32_t next = kNone;
  for (std::uint32_t i = table.starting_head; i != kNone; i = next) {
    Process& record = table.processes[i];
    next = record.next_starting;
    if (record.setup_deadline_ns > keeper.now_ns) {
      if (record.setup_deadline_ns < keeper.next_setup_deadline_ns) {
        keeper.next_setup_deadline_ns = record.setup_deadline_ns;
      }
      continue;
    }
    on_exec_pipe(keeper, i);  // a keeper that was late itself: it may have executed long ago
    if (record.message.state == EntryState::running) continue;
    record.killed_for = ETIMEDOUT;
    kill(record.message.pid, SIGKILL);
    table.unlink_starting(i);
  }
}

void reap(Keeper& keeper, int pid) {
  const std::uint32_t index = keeper.table.find_pid(pid);
  if (index != kNone) {
    on_process_exit(keeper, index);
  } else if (pid > 0 && pid == keeper.role.pid) {
    on_role_exit(keeper);
  } else if (pid > 0) {
    reap_stranger(keeper, pid);
  }
}

void scan_children(Keeper& keeper) {
  if (keeper.now_ns < keeper.next_scan_ns) return;
  for (int i = 0; i < kScanBatch; ++i) {
    const std::int64_t begin = clock_ns(CLOCK_MONOTONIC);
    const int pid = ended_child(P_ALL, 0, __WALL);
    if (pid <= 0) {  // it went by every child, for nothing
      const std::int64_t end = clock_ns(CLOCK_MONOTONIC);
      keeper.no_scan_before_ns = end + (end - begin) * kScanShare;
      keeper.next_scan_ns = kNever;
      return;
    }
    reap(keeper, pid);
  }
}

}  // namespace mtd::keeper
