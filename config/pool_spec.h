// What a configuration says, after everything was read, checked, merged, expanded and resolved.
// Plain values; the key table (keys.h) says for each member its JSON key, bounds, unit and default.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/signals.h"
#include "common/size.h"
#include "common/time.h"

namespace mtd::config {

enum class RestartPolicy { always, on_failure, never };
enum class ReadyMode { exec, notify, fd, probe };
enum class StopScope { tree, group, process };
enum class BreakerAction { backoff, fail };
enum class OrphanPolicy { kill, keep };
enum class ReloadMode { rolling, signal };
enum class LogTarget {
  automatic,
  inherit,
  null,
  journal,
  direct
};  // automatic: journal under systemd, else inherit

// Of a pool whose number of workers follows their work ("workers" as an object).
struct ScalingSpec {
  std::uint32_t min = 0;
  std::uint32_t max = 0;                   // 0: a fixed number of workers
  std::uint32_t spare = 1;                 // idle ones beyond the busy ones
  Duration quiet = Duration::seconds(30);  // unneeded for so long before one is ended
  bool operator==(const ScalingSpec&) const = default;
};

struct Backoff {
  Duration initial = Duration::milliseconds(500);
  double factor = 2;  // 1..100
  Duration max = Duration::seconds(30);
  double jitter = 0.1;  // 0..1: a delay is drawn from [d, d × (1 + jitter)]
  Duration reset_after = Duration::seconds(30);
};

struct CrashLimit {
  std::uint32_t count = 0;  // 0: 5 × workers
  Duration window = Duration::seconds(60);
  BreakerAction action = BreakerAction::backoff;
  Duration retry_after = Duration::seconds(300);
};

// A command that mtd runs beside the workers, in their surroundings; empty: none.
struct CommandSpec {
  std::vector<std::string> command;  // expanded; slot and incarnation as markers (SpecMarker)
  std::string executable;            // command[0] looked up through the worker's PATH
  bool operator==(const CommandSpec&) const = default;
};

struct StopStep {
  SignalNumber signal{15};
  Duration timeout;  // until the next step
  bool operator==(const StopStep&) const = default;
};

struct StopSpec {
  SignalNumber signal{15};
  Duration timeout = Duration::seconds(10);  // infinite allowed
  StopScope scope = StopScope::tree;
  std::vector<StopStep> steps;  // in place of signal and timeout; SIGKILL follows the last
  CommandSpec command;          // in place of the first signal, which is sent where it fails
};

// Commands that are run when something has happened.
struct HooksSpec {
  CommandSpec on_start, on_exit, on_failed;
  Duration timeout = Duration::seconds(30);  // of each; then it is killed with all it started
};

struct HookName {
  const char* name;  // below "hooks"
  CommandSpec HooksSpec::*member;
};
inline constexpr HookName kHooks[] = {{"on_start", &HooksSpec::on_start},
                                      {"on_exit", &HooksSpec::on_exit},
                                      {"on_failed", &HooksSpec::on_failed}};

enum class DependencyState { started, ready, completed };
enum class LossPolicy { keep, stop };
// A pool that has to be so far before another one is started.
struct Dependency {
  std::string pool;
  DependencyState until{};
  LossPolicy if_lost = LossPolicy::keep;  // what happens to the dependent when it is down
  bool operator==(const Dependency&) const = default;
};

// How running workers come to a new configuration.
struct ReloadSpec {
  ReloadMode mode = ReloadMode::rolling;
  SignalNumber signal{1};       // of ReloadMode::signal, at every reload
  std::uint32_t max_surge = 1;  // slots that have a second process meanwhile (overlap)
  std::uint32_t max_unavailable =
      0;  // further slots that stop theirs first; 0 is 1 without overlap
};

struct RecycleSpec {
  std::uint64_t max_tasks = 0;  // 0: off
  std::uint64_t max_rss = 0;    // bytes, 0: off
  Duration max_lifetime;        // zero: off
  Duration idle_timeout;        // zero: off
  double jitter = 0.1;  // only ever shortens: each limit N is drawn from [N × (1 − jitter), N]
  std::uint32_t concurrency = 0;  // 0: max(1, 10 % of workers)
};

// How a worker is asked whether it is well. At most one of the four kinds; none: no probe.
struct ProbeSpec {
  std::vector<std::string> exec;  // a command, with markers of SpecMarker; well: exit code 0
  std::string executable;         // exec[0] looked up through the worker's PATH
  std::string http;               // URL, with markers; well: status 200..399
  std::string tcp;                // HOST:PORT, with markers; well: it accepts a connection
  std::string unix_path;          // stream socket, with markers; the same
  Duration period = Duration::seconds(10);
  Duration timeout = Duration::seconds(1);
  std::uint32_t threshold = 3;  // so many failures in a row count
  [[nodiscard]] bool is_set() const {
    return !exec.empty() || !http.empty() || !tcp.empty() || !unix_path.empty();
  }
  bool operator==(const ProbeSpec&) const = default;
};

struct ProbesSpec {
  ProbeSpec live, ready;
};

struct LogSpec {
  LogTarget to = LogTarget::automatic;
  std::string path;  // direct only; may hold markers of SpecMarker
};

enum class ListenKind { tcp, udp, unix_stream, systemd };

// One socket that mtd opens, or has from the service manager, for all workers of a pool.
struct ListenSpec {
  ListenKind kind = ListenKind::tcp;
  std::string address;     // numeric, "*": IPv4 and IPv6; of unix_stream a path, of systemd a name
  std::uint16_t port = 0;  // tcp, udp
  std::string name;        // its part of LISTEN_FDNAMES
  std::uint32_t backlog = 4096;  // tcp, unix_stream; the kernel's net.core.somaxconn bounds it
  bool reuse_port = false;       // tcp, udp: each slot has a socket of its own
  std::uint32_t mode = 0660;     // unix_stream
  std::optional<std::uint32_t> uid, gid;  // unix_stream; empty: mtd's own
  bool operator==(const ListenSpec&) const = default;
};

struct Rlimit {
  std::string name;                  // "nofile", "core", … as in getrlimit(2) without RLIMIT_
  std::uint64_t soft = 0, hard = 0;  // RLIM_INFINITY: ~0ULL
};

// Of each worker with all that it starts. 0: not set.
struct CgroupSpec {
  std::uint64_t memory_max = 0, memory_high = 0;  // bytes
  std::uint32_t cpu_max = 0;                      // per cent of one processor
  std::uint32_t cpu_weight = 0, io_weight = 0;    // 1..10000
  std::uint32_t pids_max = 0;
  bool required = false;
};

struct CpuAffinity {
  std::vector<int> cpus;    // sorted, each once; empty: as mtd itself
  bool per_worker = false;  // one of mtd's own for each slot; `cpus` is empty
};

struct SandboxSpec {
  bool no_new_privs = false;  // always with seccomp
  // Bit n: capability n. The second is what a worker has that is not root; a part of the first.
  std::optional<std::uint64_t> capabilities, ambient_capabilities;
  std::vector<std::string> seccomp;  // system calls that are refused, and @groups of them
  bool private_tmp = false;
  std::vector<std::string> read_only_paths;  // absolute; may hold markers of SpecMarker
};

enum class TaskMode { none, task, exec, filter, notify };
enum class TaskDurability { fsync, process, memory };
enum class OnFullQueue { refuse, block };
enum class OnLostTask { retry, dead };

// In all pools with a queue together, however far dynamic ones grow: the keeper holds a socket for
// each, and while it is being replaced for its successor as well.
inline constexpr std::uint32_t kMaxTaskWorkers = 16'000;

// The pool's queue of tasks. Infinite durations: none.
struct TasksSpec {
  TaskMode mode = TaskMode::none;  // none: no tasks object
  Duration timeout = Duration::infinite();
  Duration grace = Duration::seconds(5);
  std::uint32_t max_attempts = 3;
  Duration retry_delay = Duration::seconds(5);
  Duration retry_max = Duration::seconds(600);
  std::uint32_t max_crashes = 3;
  std::uint64_t max_queue = 100'000;
  std::uint64_t max_queue_bytes = 256ULL << 20;
  OnFullQueue on_full = OnFullQueue::refuse;
  Duration queue_timeout = Duration::infinite();
  std::uint64_t max_body = 8ULL << 20;
  std::uint32_t credit = 1;
  TaskDurability durability = TaskDurability::fsync;
  std::uint64_t max_result = 1ULL << 20;
  Duration result_ttl = Duration::seconds(3600);
  Duration dead_ttl = Duration::seconds(14 * 86'400);
  OnLostTask on_lost = OnLostTask::retry;

  // Its workers get their tasks from mtd.
  [[nodiscard]] bool has_queue() const {
    return mode != TaskMode::none && mode != TaskMode::notify;
  }
};

struct Identity {  // resolved at load
  std::string user_name, group_name, home, shell;
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;
};

// In the order of the manual. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct PoolSpec {
  std::string name;
  std::vector<std::string> command;  // expanded; slot and incarnation as markers (SpecMarker)
  std::string executable;            // command[0] looked up through the worker's PATH
  std::uint32_t workers = 1;         // with scaling: scaling.min
  ScalingSpec scaling;
  bool enabled = true;
  std::string directory = "/";
  std::optional<Identity> identity;  // empty: mtd's own
  std::uint32_t umask = 022;
  std::vector<std::string> environment;  // NAME=VALUE, complete but for NOTIFY_SOCKET and MTD_TAG
  RestartPolicy restart = RestartPolicy::always;
  std::vector<int> success_codes{0};
  std::vector<int> no_restart_codes;
  Backoff backoff;
  CrashLimit crash_limit;
  ReadyMode ready = ReadyMode::exec;
  Duration start_timeout = Duration::seconds(60);
  Duration min_uptime = Duration::seconds(1);
  Duration watchdog;  // zero: off
  ProbesSpec probes;
  StopSpec stop;
  ReloadSpec reload;
  bool overlap = true;  // resolved default, see config.md
  RecycleSpec recycle;
  OrphanPolicy orphans = OrphanPolicy::kill;
  LogSpec log;
  std::vector<ListenSpec> listen;  // descriptors 3, 4, … of every worker, in this order
  std::vector<Rlimit> rlimits;
  std::optional<int> nice;
  std::optional<int> ionice;  // as ioprio_set(2) takes it: class << 13 | level
  CpuAffinity cpu_affinity;
  std::optional<int> oom_score_adj;
  CgroupSpec cgroup;
  SandboxSpec sandbox;
  HooksSpec hooks;
  std::vector<Dependency> depends_on;  // sorted by name, each once
  bool essential = false;              // its failure is the end of mtd
  TasksSpec tasks;

  // However far it grows.
  [[nodiscard]] std::uint32_t most_workers() const { return std::max(workers, scaling.max); }

  // Of all that a running process was given at its start. Two specs with the same fingerprint need
  // no new process; members that apply in place (hot keys) are not in it.
  std::uint64_t spawn_fingerprint = 0;
};

struct DaemonSpec {
  std::string control_socket;                 // empty: RUNTIME_DIR/io.mtd.Manager
  std::optional<std::uint32_t> operate_gid;   // control.group, resolved
  std::optional<std::uint32_t> readonly_gid;  // control.readonly_group, resolved
  std::string log_level = "info";
  std::uint32_t max_processes = 0;      // 0: what the descriptors allow
  std::uint32_t start_concurrency = 0;  // processes being set up at once, all pools; 0: no limit
  std::uint32_t max_clients = 1024;
  std::string task_user;  // tasks.user; empty: mtd-tasks if there is one, else nobody
  std::optional<std::uint32_t> task_uid, task_gid;  // resolved; empty: mtd's own
  std::string task_directory;                       // empty: tasks in the state directory
  std::uint64_t task_quota = 4ULL << 30;
  // Per cent of the last ten seconds in which something waited for memory; at or beyond it no pool
  // grows. 0: never looked at.
  std::uint32_t memory_pressure = 20;
};

struct Configuration {
  DaemonSpec daemon;
  std::vector<PoolSpec> pools;        // sorted by name
  std::vector<std::string> files;     // in the order they were read
  std::vector<std::string> warnings;  // for people, with file and key
};

}  // namespace mtd::config
