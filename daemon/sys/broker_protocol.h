// What the supervisor and the broker say to each other: fixed-size messages over a SOCK_SEQPACKET
// pair. The supervisor tells everything again to each life of a broker, and a broker tells
// everything that still holds to each life of a supervisor (after `hello`), so that either may die
// at any moment. Nothing in here comes from a task: the supervisor reads numbers only.
//
// Both are of one release: a broker whose hello names another version is replaced.
#pragma once

#include <cstdint>

namespace mtd::broker {

inline constexpr std::uint32_t kLinkVersion = 3;
// Where the broker finds them.
inline constexpr int kLinkFd = 3, kListenerFd = 4, kBoardFd = 5;
inline constexpr std::uint32_t kVersionBytes = 32;
inline constexpr std::uint32_t kNameBytes = 65;   // of a pool, with its NUL
inline constexpr std::uint32_t kTextBytes = 256;  // for people, with its NUL

// The supervisor asks whether the broker hangs while it has work: only then.
inline constexpr std::int64_t kWorkingPauseNs = 10'000'000'000;

enum class Type : std::uint32_t {
  // supervisor → broker
  welcome = 1,  // the first one; everything the supervisor knew of this broker is forgotten
  pool,         // a pool with a queue, or its new settings
  pool_gone,    // its queue is closed; what it holds stays in the store
  attach,       // + the socket of a worker; of a known one: nothing new
  drain,        // give it no more tasks, and say when it has none
  ended,        // the worker is reaped
  synced,       // every living worker has been attached
  stop,         // finish what is under way with the store, and exit
  ping,         // answered with pong
  listen,       // + the listener of io.mtd.Tasks, in place of the one it has
  // broker → supervisor
  hello = 64,   // answers welcome
  serving,      // the store is open: clients and workers are served
  ready,        // of a worker: READY=1
  drained,      // it has no task any more
  spent,        // it is given no more tasks: its limit, or its own wish
  condemned,    // it is to be killed with its tree
  load,         // it works, or waits for work; only of pools that ask for it
  ended_taken,  // `ended` is on record; its socket is needed no more
  failed,       // the broker cannot do its work; it ends
  backlog,      // tasks wait, and no worker is there; or not any more. Of pools that ask for load
  pong,         // answers ping
  working,      // something has been done; said again kWorkingPause later at the earliest
};

struct Header {
  Type type{};
  std::uint32_t size = 0;  // of the whole message
};
struct WorkerRef {
  std::uint32_t pool = 0;
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
  friend constexpr auto operator<=>(const WorkerRef&, const WorkerRef&) = default;
};

struct Welcome {
  static constexpr Type kType = Type::welcome;
  Header header;
  std::uint32_t version = kLinkVersion;
  std::uint32_t padding = 0;
};
// Durations in nanoseconds; −1: none, for ever.
struct Pool {
  static constexpr Type kType = Type::pool;
  Header header;
  std::uint32_t id = 0;
  std::uint32_t mode = 0;  // config::TaskMode
  std::int64_t timeout = -1, grace = 0, retry_delay = 0, retry_max = 0, queue_timeout = -1;
  std::int64_t result_ttl = 0, dead_ttl = 0;
  std::uint64_t max_queue = 0, max_queue_bytes = 0, max_body = 0, max_result = 0;
  std::uint32_t max_attempts = 0, max_crashes = 0, credit = 0;
  std::uint32_t durability = 0, on_full = 0, on_lost = 0;
  std::uint32_t reports_load = 0;
  std::uint32_t padding = 0;
  char name[kNameBytes] = {};
};
struct PoolGone {
  static constexpr Type kType = Type::pool_gone;
  Header header;
  std::uint32_t id = 0;
  std::uint32_t padding = 0;
};
struct Attach {
  static constexpr Type kType = Type::attach;
  Header header;
  WorkerRef worker;
  std::uint64_t task_limit = 0;  // 0: none
};
struct Drain {
  static constexpr Type kType = Type::drain;
  Header header;
  WorkerRef worker;
  std::int64_t deadline = -1;  // from now
};
enum class EndCause : std::uint32_t { exit, signal, oom, stopped, vanished };
struct Ended {
  static constexpr Type kType = Type::ended;
  Header header;
  WorkerRef worker;
  EndCause cause{};
  std::int32_t number = 0;  // exit code or signal
};
struct Synced {
  static constexpr Type kType = Type::synced;
  Header header;
};
struct Stop {
  static constexpr Type kType = Type::stop;
  Header header;
};
struct Ping {
  static constexpr Type kType = Type::ping;
  Header header;
};
struct Listen {
  static constexpr Type kType = Type::listen;
  Header header;
};

struct Hello {
  static constexpr Type kType = Type::hello;
  Header header;
  std::uint32_t version = kLinkVersion;
  std::uint32_t padding = 0;
  char release[kVersionBytes] = {};  // MTD_VERSION
};
struct Serving {
  static constexpr Type kType = Type::serving;
  Header header;
};
struct Ready {
  static constexpr Type kType = Type::ready;
  Header header;
  WorkerRef worker;
};
struct Drained {
  static constexpr Type kType = Type::drained;
  Header header;
  WorkerRef worker;
};
struct Spent {
  static constexpr Type kType = Type::spent;
  Header header;
  WorkerRef worker;
};
enum class KillCause : std::uint32_t { task_timeout, cancelled, protocol };
struct Condemned {
  static constexpr Type kType = Type::condemned;
  Header header;
  WorkerRef worker;
  KillCause cause{};
  std::uint32_t padding = 0;
};
struct Load {
  static constexpr Type kType = Type::load;
  Header header;
  WorkerRef worker;
  std::uint32_t running = 0;  // 0: it has no task
  std::uint32_t padding = 0;
};
struct EndedTaken {
  static constexpr Type kType = Type::ended_taken;
  Header header;
  WorkerRef worker;
};
struct Backlog {
  static constexpr Type kType = Type::backlog;
  Header header;
  std::uint32_t pool = 0;
  std::uint32_t waits = 0;  // 1: a first worker is wanted
};
struct Pong {
  static constexpr Type kType = Type::pong;
  Header header;
  std::int64_t store_silence = 0;  // so long it has owed the broker an answer, ns
};
struct Working {
  static constexpr Type kType = Type::working;
  Header header;
};
struct Failed {
  static constexpr Type kType = Type::failed;
  Header header;
  char text[kTextBytes] = {};
};

}  // namespace mtd::broker
