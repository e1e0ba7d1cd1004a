// The keeper's protocol: fixed-size messages over a SOCK_SEQPACKET pair, one message a datagram.
//
// The keeper owns every process and decides nothing; a role asks, and the keeper answers from its
// table. What it tells about a process is always the whole entry (level, not edge): if states
// follow each other faster than the socket takes them, the reader sees only the last one, and it
// holds everything that happened. A request carries a serial number; the answer repeats it.
//
// Everything here is plain data without pointers: it is read by a program without a heap.
//
// Versions. Keeper and role may be one protocol version apart, which they are for a moment in an
// upgrade. The header never changes. A message of the other version is read as far as both know
// it: it may have grown at its end, and what an older one lacks has its default. A request of a
// type that the keeper does not know is answered by an ack with ENOSYS; an unknown message of a
// newer keeper is skipped. Beyond one version the keeper answers EPROTO to every request, and a
// role that reads such a hello ends with kMismatchExit, which ends a daemon that is just starting.
#pragma once

#include <cstdint>
#include <type_traits>

namespace mtd::keeper {

// 2: snapshot, upgrade, programs, upgrade_state.
inline constexpr std::uint16_t kProtocolVersion = 2;
[[nodiscard]] constexpr bool speaks(std::uint16_t version) {
  return version != 0 && version + 1 >= kProtocolVersion && version <= kProtocolVersion + 1;
}
inline constexpr int kMismatchExit = 11;  // of a role that does not speak the keeper's protocol
inline constexpr int kRoleSocketFd = 3;   // where a role finds its end
inline constexpr std::uint32_t kMaxSpecBytes = 128 * 1024;
inline constexpr std::uint32_t kMaxDescriptors = 64;  // per revision, stdio included
inline constexpr std::uint32_t kLabelBytes = 128;
inline constexpr std::uint32_t kHoldNameBytes = 64;
// Held descriptors, all names together: the sockets of 16 000 workers with tasks, each of them
// being replaced, and what pools listen on.
inline constexpr std::uint32_t kMaxHeld = 2 * 16'000 + 1024;
// Sockets that the service manager passed to mtd are held from the start, as "systemd:0" and so on.
inline constexpr std::uint32_t kMaxInherited = 64;
inline constexpr char kInheritedName[] = "systemd:";
inline constexpr std::uint32_t kMaxRevisions = 1024;
inline constexpr std::uint32_t kNotifyTextBytes = 1024;
inline constexpr std::uint32_t kMaxDeaths = 8;  // of the role, that are remembered
// When memory runs out the kernel shall take the workers first, and mtd last.
inline constexpr std::int32_t kOwnOomScore = -900, kRoleOomScore = -800;
inline constexpr std::uint32_t kVersionBytes = 32;
inline constexpr std::uint32_t kPathBytes = 512;

// Chosen by the supervisor; a key names one process for ever and is never used for a second one.
struct Key {
  std::uint32_t pool = 0;
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
  friend constexpr bool operator==(const Key&, const Key&) = default;
};

// What the child was doing. The numbers are part of the protocol: new ones come last, whatever
// their place in the order of work (run_child).
enum class Stage : std::uint16_t {
  none,
  descriptors,
  clone,
  cgroup,
  session,
  signals,
  priority,
  oom_score,
  limits,
  groups,
  group,
  user,
  verify,
  umask,
  directory,
  output,
  exec,
  cpu_affinity,
  io_priority,
  mount_namespace,
  read_only_paths,
  private_tmp,
  capabilities,
  no_new_privs,
  seccomp,
  cgroup_limits,  // the supervisor's own: before it asks for a process
};

enum class EntryState : std::uint16_t {
  starting,  // cloned; the child is setting itself up
  running,   // exec confirmed
  failed,    // there never was a process: the kernel refused; stage and error say what
  exited,    // reaped; wait_status is exact
};

// How sure the keeper is that the program itself ran before it ended (state == exited).
enum class Outcome : std::uint16_t {
  none,          // not exited
  program,       // the program ran; wait_status is its own
  setup_failed,  // the child gave up at `stage` with `error`; the program never ran
  unknown,       // killed at stage exec before execution was confirmed
};

enum class Scope : std::uint16_t { process, group };

enum class Type : std::uint16_t {
  // role → keeper
  list = 1,  // tell every entry, then list_end
  revision,  // + spec memfd, + descriptors; answered by ack
  forget,    // a revision no spawn will name again; ack
  spawn,     // (+ cgroup directory descriptor, + the process's own descriptors); answered by entry,
             // or ack with an error
  signal,    // ack: 0, or ESRCH when the entry is gone or reaped
  release,   // the role has taken note of a failed or exited entry; no answer
  hold,      // + descriptor; ack
  fetch,     // answered by held
  drop,      // a held name; ack
  ready,     // the role serves: READY=1 to the service manager, newline to --ready-fd
  notify,    // text for the service manager; no answer
  finish,    // the role wants the daemon to end with this code; it exits after sending it
  pong,
  snapshot,  // a copy of the table, as an upgrade hands it over; answered by held
  upgrade,   // + new keeper, + new supervisor; ack, then upgrade_state; the role leaves after it
  // keeper → role
  hello = 64,  // first message of an epoch
  ack,
  entry,
  list_end,
  held,           // + descriptor when error == 0
  orphans,        // strangers reaped since the last message of this kind
  daemon_signal,  // a signal sent to mtd
  ping,           // answer with pong, which repeats its serial
  deaths,         // how earlier lives of this role ended; after hello, if there were any
  programs,       // what the keeper is and where it was started from; follows hello
  upgrade_state,  // of the last upgrade: when it changes, and after hello if there was one
};

struct Header {
  Type type{};
  std::uint16_t version = kProtocolVersion;
  std::uint32_t size = 0;    // of the whole message, header included
  std::uint64_t serial = 0;  // of the request; 0 in unasked-for messages
};

struct List {
  Header header;
};
struct Revision {
  Header header;
  std::uint64_t id = 0;
  std::uint32_t spec_bytes = 0;
  std::uint32_t descriptors = 0;
  std::uint32_t own = 0;  // so many more, the last ones of its map, come with each spawn
  std::uint32_t padding = 0;
};
struct Forget {
  Header header;
  std::uint64_t id = 0;
};
struct Spawn {
  Header header;
  Key key;
  std::uint64_t revision = 0;
  std::uint32_t setup_timeout_ms =
      0;                         // 1..600 000: then the child is killed, setup_failed ETIMEDOUT
  std::uint32_t has_cgroup = 0;  // 1: the descriptor that comes along is its cgroup directory
  char label[kLabelBytes] = {};  // opaque; comes back in entry
};
struct Signal {
  Header header;
  Key key;
  std::int32_t signal = 0;
  Scope scope{};
  std::uint16_t padding = 0;
};
struct Release {
  Header header;
  Key key;
};
struct Hold {
  Header header;
  char name[kHoldNameBytes] = {};
};
struct Fetch {
  Header header;
  char name[kHoldNameBytes] = {};
};
struct Drop {
  Header header;
  char name[kHoldNameBytes] = {};
};
struct Ready {
  Header header;
};
struct Notify {
  Header header;
  char text[kNotifyTextBytes] = {};
};
struct Finish {
  Header header;
  std::int32_t code = 0;
  std::uint32_t padding = 0;
};
struct Pong {
  Header header;
};

struct Hello {
  Header header;
  std::uint64_t epoch = 0;                  // counts the lives of this role, from 1
  std::uint64_t instance = 0;               // random, drawn once per keeper: part of MTD_TAG
  std::int64_t keeper_started_ns = 0;       // CLOCK_MONOTONIC
  std::int64_t keeper_started_boot_ns = 0;  // CLOCK_BOOTTIME
  std::uint32_t capacity = 0;               // processes the table and the descriptors allow
  std::int32_t keeper_pid = 0;
  std::uint32_t entries = 0;                // in the table now
  std::uint32_t under_service_manager = 0;  // NOTIFY_SOCKET was set
  std::uint64_t watchdog_usec = 0;          // the service manager's, 0: none
  std::uint64_t original_nofile_soft = 0;   // what workers get back
  std::int64_t original_oom_score_adj = 0;
  std::uint32_t is_pid1 = 0;
  std::uint32_t subreaper = 0;     // 0: the kernel refused PR_SET_CHILD_SUBREAPER
  std::int32_t oom_score_adj = 0;  // the keeper's own; > -900: it was not permitted to lower it
  std::uint32_t padding = 0;
};
struct Ack {
  Header header;
  std::int32_t error = 0;
  std::uint32_t padding = 0;
};

struct SentSignal {
  std::int32_t signal = 0;
  std::uint32_t times = 0;
  std::int64_t last_ns = 0;
};

struct Entry {
  Header header;
  Key key;
  std::uint64_t change = 0;  // counts over all entries; the higher one is the later truth
  std::uint64_t revision = 0;
  EntryState state{};
  Outcome outcome{};
  Stage stage{};
  std::uint16_t executed = 0;    // 1: exec was confirmed while the process lived
  std::int32_t error = 0;        // errno of stage
  std::int32_t pid = 0;          // 0 when failed
  std::int32_t wait_status = 0;  // as waitpid(2)
  std::int32_t in_cgroup = 0;    // 1: it was born in the cgroup it was to have
  std::int64_t started_ns = 0, executed_ns = 0, exited_ns = 0;       // CLOCK_MONOTONIC, 0: not yet
  std::int64_t exited_realtime_ns = 0;                               // CLOCK_REALTIME, for people
  std::int64_t user_cpu_us = 0, system_cpu_us = 0, max_rss_kib = 0;  // at exit, wait4(2)
  SentSignal first_sent, last_sent;                                  // by request of a role
  char label[kLabelBytes] = {};
};
struct ListEnd {
  Header header;
  std::uint64_t sequence = 0;
};
struct Held {
  Header header;
  std::int32_t error = 0;
  std::uint32_t padding = 0;
  char name[kHoldNameBytes] = {};
};
struct Orphans {
  Header header;
  std::uint64_t total = 0;
  std::int32_t last_pid = 0;
  std::int32_t last_wait_status = 0;
};
struct DaemonSignal {
  Header header;
  std::int32_t signal = 0;
  std::int32_t sender_pid = 0;
  std::uint32_t sender_uid = 0;
  std::uint32_t from_kernel = 0;
};
struct Ping {
  Header header;
};

enum class DeathReason : std::uint16_t {
  crashed,      // by a fault of its own, or it exited
  killed,       // by a signal that someone sent: kill(1), the kernel short of memory
  hung,         // it did not answer, and the keeper ended it
  stuck,        // it did not even end by SIGKILL; wait_status is 0
  not_started,  // its program could not be executed; error says why
};
struct Death {
  std::uint64_t epoch = 0;       // of the life that ended
  std::int64_t realtime_ns = 0;  // CLOCK_REALTIME of its end
  std::int64_t lived_ns = 0;
  std::int32_t pid = 0, wait_status = 0;
  std::int32_t error = 0;  // errno
  DeathReason reason{};
  std::uint16_t padding = 0;
};
struct Deaths {
  Header header;
  std::uint64_t total = 0;   // since the keeper began
  std::uint32_t kept = 0;    // of `last`, the newest first
  std::uint32_t untold = 0;  // the newest ones, of which no life that came to `ready` has heard
  Death last[kMaxDeaths];
};

struct Snapshot {
  Header header;
};
struct Upgrade {
  Header header;
  char version[kVersionBytes] = {};  // of the new programs
};
struct Programs {
  Header header;
  char version[kVersionBytes] = {};  // of the keeper
  char path[kPathBytes] = {};        // empty: not known, no upgrade is possible
};

enum class UpgradeStep : std::uint16_t { none, supervisor, keeper, done, failed };
enum class UpgradeFault : std::uint16_t {
  none,
  supervisor_died,       // before it was ready; error: its wait status
  supervisor_not_ready,  // in time
  spawn_hangs,           // a process that is being set up does not get on; error: its pid
  no_image,              // the table could not be written; error: errno
  not_executed,          // the kernel refused the new keeper; error: errno
  table_refused,         // the new keeper executed the old one back
  stopping,              // mtd was asked to stop meanwhile
};
struct UpgradeState {
  Header header;
  std::uint32_t number = 0;  // counts the upgrades of this daemon; 0: none yet
  UpgradeStep step{};
  UpgradeFault fault{};
  std::int32_t error = 0;
  std::uint32_t fresh = 0;  // 1: no ready role has been told of this end yet
  char from[kVersionBytes] = {};
  char to[kVersionBytes] = {};
};

static_assert(std::is_trivially_copyable_v<Entry> && sizeof(Entry) <= 512);

}  // namespace mtd::keeper
