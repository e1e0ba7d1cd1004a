// The keeper: parent of every process, for ever. It starts, reaps and signals; it decides nothing,
// and it parses nothing but the fixed messages of daemon/sys/keeper_protocol.h.
//
// The life of a process in the table (one Process record, found by its key or its pid):
//
//            SPAWN accepted
//                 │ clone refused ──────────────▶ failed {stage, errno}
//                 ▼                                   │
//             starting ── exec seen while alive ──▶ running
//                 │  the child notes stage and        │
//                 │  errno in its note                │
//                 └──────────┬────────────────────────┘
//                            ▼ reaped
//                        exited {wait status, outcome}          failed, exited ── RELEASE ──▶ free
//
//  * The outcome of `exited`: program (exec was seen, or it exited by itself without a noted
//  error),
//    setup_failed (an error was noted, or death before stage exec, or the set-up deadline passed),
//    unknown (killed at stage exec before exec was seen: the kernel does not tell which side it
//    was).
//  * Exec is seen when the close-on-exec pipe hangs up *and* the child, still alive, has SIGCHLD
//  for its
//    exit signal: it is cloned with another one, and only execve changes that. So a pipe that
//    closes because the child is being killed is not taken for an exec.
//  * Exits come by SIGCHLD, whose pid is exact while unreaped. No descriptor is kept for a process:
//    a fork copies, and its child closes, all that there are (10 000: 5 ms, one exec is 0.5 ms).
//  * A process is reaped at once; the record stays until the role has taken note. So the pid in an
//    unreaped record is exact: no one else can have it, and kill(2) by pid meets only our own.
//  * A record is sent whole when it has changed and the socket takes it. Nothing is queued: a
//  record is
//    on the dirty list once, however often it changes.
//
// Memory: everything is mapped at start (Table, scratch for the child); nothing is allocated later.
// What the child must not pay for at fork is mapped shared: the kernel does not copy its page
// tables.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdint>

#include "daemon/keeper/timing.h"
#include "daemon/keeper/upgrade.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/spawn_spec_format.h"

namespace mtd::keeper {

inline constexpr std::uint32_t kNone = UINT32_MAX;
inline constexpr std::int64_t kNever = INT64_MAX;
inline constexpr std::uint32_t kReservedFds = 64 + 253;  // its own, and one message full of them
inline constexpr std::uint32_t kMaxProcesses =
    128 * 1024;  // of the table, whatever RLIMIT_NOFILE says
inline constexpr std::uint32_t kScratchBytes = 4 * 1024 * 1024;
inline constexpr std::uint32_t kTextBytes = 4096;
inline constexpr std::uint32_t kPendingSignals = 16;  // daemon signals not yet written to the role
// Until execve makes it SIGCHLD. A standard signal, as that one: never lost for want of memory.
inline constexpr int kUnconfirmedExitSignal = SIGURG;

// Written by the child before exec, read by the keeper: lives in shared memory.
struct ChildNote {
  volatile Stage stage = Stage::none;
  volatile std::int32_t error = 0;
  volatile bool failed = false;
};

struct Process {
  Entry message;
  ChildNote note;
  int exec_pipe = -1;
  std::int64_t setup_deadline_ns = kNever;
  std::uint32_t next_by_key = kNone, next_by_pid = kNone, next_dirty = kNone;
  std::uint32_t next_starting = kNone, previous_starting = kNone;
  bool used = false, dirty = false;
  std::int32_t killed_for = 0;  // why the keeper ended the set-up: ETIMEDOUT, or what it lacked
};

struct RevisionRecord {
  std::uint64_t id = 0, epoch = 0;
  std::uint32_t size = 0, descriptors = 0;  // size 0: free
  std::uint32_t own = 0;                    // descriptors that come with each spawn
  std::int32_t fds[kMaxDescriptors] = {};
};

struct HeldRecord {
  char name[kHoldNameBytes] = {};  // empty: free
  int fd = -1;
  std::uint32_t next = kNone;  // of the same hash; of the free ones
};

// Fixed arrays in one mapping, and the lists through them.
struct Table {
  Process* processes = nullptr;
  std::uint32_t* by_key = nullptr;  // heads of hash chains
  std::uint32_t* by_pid = nullptr;
  RevisionRecord* revisions = nullptr;
  HeldRecord* held = nullptr;
  std::uint32_t* by_name = nullptr;  // of held ones: heads of hash chains
  char* specs = nullptr;             // kMaxRevisions times kMaxSpecBytes
  char* scratch = nullptr;           // the child's, private
  char* texts = nullptr;             // of the keeper before an upgrade: kTextBytes
  ChildNote* role_note = nullptr;
  std::uint32_t capacity = 0, hash_mask = 0;
  std::uint32_t used = 0, high_water = 0, free_head = kNone;
  std::uint32_t held_used = 0, held_high_water = 0, held_free = kNone;
  std::uint32_t dirty_head = kNone, dirty_tail = kNone, starting_head = kNone;
  std::uint32_t unreaped = 0;
  std::uint64_t change = 0;

  [[nodiscard]] bool map(std::uint32_t wanted);
  [[nodiscard]] std::uint32_t add(const Key& key);  // kNone: full
  void remove(std::uint32_t index);
  [[nodiscard]] std::uint32_t find(const Key& key) const;
  [[nodiscard]] std::uint32_t find_pid(int pid) const;  // unreaped ones only
  void set_pid(std::uint32_t index, int pid);
  void unset_pid(std::uint32_t index);
  void changed(std::uint32_t index);  // counts, and puts it on the dirty list
  void touch(std::uint32_t index);    // onto the dirty list
  std::uint32_t take_dirty();
  void link_starting(std::uint32_t index);
  void unlink_starting(std::uint32_t index);
  [[nodiscard]] RevisionRecord* revision(std::uint64_t id);
  [[nodiscard]] char* spec_of(const RevisionRecord& record) const;
  void clear(RevisionRecord& record);
  // Names are ended by NUL, and not empty.
  [[nodiscard]] HeldRecord* find_held(const char* name);
  [[nodiscard]] HeldRecord* add_held(const char* name);  // of a new name; nullptr: full
  void remove_held(HeldRecord& record);
};

// The supervisor's process, over all its lives.
struct Role {
  int pid = 0, socket = -1;
  int spare = -1;  // a descriptor kept free: with it, however full the table, the next life starts
  bool reading =
      true;  // false: the socket does not take an answer; no request is read till it does
  std::uint32_t watched = 0;  // what epoll tells of the socket
  bool ready = false, listed = false, list_wanted = false, ping_wanted = false,
       orphans_wanted = false, hello_wanted = false, deaths_wanted = false;
  bool hung = false;  // so the keeper ends it
  bool programs_wanted = false, upgrade_wanted = false;
  bool knows_upgrade = false;  // was sent how the last one ended
  std::uint64_t epoch = 0, list_serial = 0;
  std::uint64_t ping_serial = 0;  // of the last ping; a pong that repeats it has seen all before it
  std::uint32_t list_cursor = 0;
  bool answer_waiting = false;
  union {
    Ack ack;
    Held held;
  } answer{};
  int answer_fd = -1;
  bool answer_fd_owned = false;  // closed once it is sent
  std::int64_t started_ns = 0, start_at_ns = 0, backoff_ns = 0;
  std::int64_t deaths_ns[60] = {};
  std::int64_t unread_check_ns = kNever;  // then: has it read what it was sent?
  std::int64_t pong_by_ns = kNever, kill_at_ns = kNever, fence_at_ns = kNever;
};

enum class Ending : std::uint8_t { no, asking, killing };

struct Settings {
  char** argv = nullptr;
  char** role_environment = nullptr;
  char role_paths[3][kPathBytes] = {};
  char program[kPathBytes] = {};  // where mtd was started from; empty: not known
  // The files that run now, whatever stands at their paths: what was good once is started again.
  int own_program = -1, role_program = -1;
  int inherited = 0;  // sockets from the service manager, 3 and following
  int ready_fd = -1, start_directory = -1, null_fd = -1, notify_fd = -1;
  const char* notify_socket = nullptr;
  std::uint64_t watchdog_usec = 0;
  std::uint64_t original_nofile_soft = 0, nofile = 0;
  std::int32_t original_oom_score_adj = 0, oom_score_adj = 0;  // the second: the keeper's own now
  std::uint64_t instance = 0;
  std::int64_t started_ns = 0, started_boot_ns = 0;
  bool subreaper = false, pid1 = false;
};

// What this kernel, or the filter in front of it, was found to lack.
struct Kernel {
  bool clone3 = true;
};

struct Keeper {
  Settings settings;
  Kernel kernel;
  Table table;
  Role role;
  int epoll = -1, signals = -1;
  std::int64_t now_ns = 0;
  std::int64_t next_setup_deadline_ns = kNever;
  std::int64_t next_scan_ns = kNever, no_scan_before_ns = 0;
  std::int64_t next_watchdog_ns = kNever;
  Orphans orphans;
  Deaths deaths;  // of the role
  DaemonSignal pending[kPendingSignals];
  std::uint32_t pending_count = 0;
  std::int64_t announce_ready_at_ns = kNever;
  bool announced_ready = false;
  // A stop that was asked for and that the role has not acknowledged.
  bool stop_asked = false, stop_retried = false;
  DaemonSignal stop_signal;
  std::int64_t stop_ack_by_ns = kNever;
  // A SIGHUP that no role that is ready is known to have heard of: told to the next one, too.
  // Signal 0: none.
  DaemonSignal reload_unheard;
  UpgradeWork upgrade;
  Ending ending = Ending::no;
  std::int64_t ending_step_ns = kNever, ending_give_up_ns = kNever;
  int exit_code = 0;
  bool exit_now = false;
};

enum class Watched : std::uint32_t { signals, role_socket, exec_pipe };

inline bool is_stop(const DaemonSignal& signal) {
  return signal.signal == SIGTERM || signal.signal == SIGINT || signal.signal == SIGQUIT ||
         (signal.signal == SIGHUP && signal.from_kernel != 0);
}

std::int64_t clock_ns(int clock);
bool watch(Keeper& keeper, int fd, Watched what, std::uint32_t index, std::uint32_t events);
void close_fd(int& fd);
// What a keeper opens for itself: signals and events. False, with errno: refused.
bool open_loop(Keeper& keeper);
void complain(const char* text, int error);

// spawn.cpp
struct Clone {
  int pid = -1;  // 0 in the child, -1: refused with `error`
  int error = 0;
  bool in_cgroup = false;
};
Clone clone_child(Kernel& kernel, int cgroup_fd);
// What a process is given beyond its revision; its own descriptors stand above all that the child
// gets (lift).
struct Given {
  int cgroup_fd = -1;
  const std::int32_t* own = nullptr;
  std::uint32_t timeout_ms = 0;
};
// Ends with the record starting or failed; closes nothing that it was given.
void spawn(Keeper& keeper, std::uint32_t index, const RevisionRecord& revision, const Given& given);

// reap.cpp
// wait4(2) without waiting: `pid` when it was reaped now, 0: it lives, -1: no such child.
int wait_now(int pid, int& status, rusage* usage);
// A child that has ended and is not reaped yet; 0: none, -1: no such child. `options`: __WALL or 0,
// which looks only at children whose exit signal is SIGCHLD.
int ended_child(idtype_t which, int pid, int options);
void on_exec_pipe(Keeper& keeper, std::uint32_t index);
void on_process_exit(Keeper& keeper, std::uint32_t index);
void kill_overdue(Keeper& keeper);
// The child that a signal named: at once, whoever it is.
void reap(Keeper& keeper, int pid);
// Signals of exits that come together are one: looks at all children, a moment later.
void scan_children(Keeper& keeper);

// session.cpp
void read_requests(Keeper& keeper);
// Throws away what a dead role still had to say, but for `finish`.
void discard_requests(Keeper& keeper);

// answers.cpp
void write_out(Keeper& keeper);
void push_daemon_signal(Keeper& keeper, const DaemonSignal& signal);
void drop_answer(Role& role);

// deaths.cpp
// Of a role that ended unasked, while `role` still says which it was. `stuck`: it did not even end.
void record_death(Keeper& keeper, int pid, int wait_status, bool stuck);

// role.cpp
// The file at the first of role_paths that there is; -1 with errno: none.
int open_role_program(const Settings& settings);
void start_role(Keeper& keeper);
void ask_for_pong(Keeper& keeper);
void drop_session(Keeper& keeper);
void on_role_exit(Keeper& keeper);
void role_deadlines(Keeper& keeper);

// service_manager.cpp
bool notify_manager(const Keeper& keeper, const char* text);  // false: not taken now
void announce_ready(Keeper& keeper);
void watchdog_tick(Keeper& keeper);

// ending.cpp
void read_signals(Keeper& keeper);
void begin_ending(Keeper& keeper, Ending how, int code);
void ending_deadlines(Keeper& keeper);
bool everything_ended();

}  // namespace mtd::keeper
