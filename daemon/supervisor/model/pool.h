// The pool model: what a pool is, and what it does next. Pure: no system call, clock, random
// number, log or JSON. The shell turns facts into events, performs the actions and arms one timer
// for next_deadline().
//
// A pool has slots 0..want−1 (and higher ones that are being emptied). A slot holds at most one
// process, or two while `overlap` replaces one; each process is an incarnation of its slot. Every
// fact carries {slot, incarnation}; a fact about an incarnation the slot does not hold is stale:
// dropped, counted. After every event the pool reconciles wanted against actual: scaling,
// recycling, reload, restart and stop are changes of "wanted", never code paths of their own. In a
// dynamic pool (scaling.cpp) the wanted slots are not the first ones but those that are not parked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/time.h"
#include "config/pool_spec.h"

namespace mtd::model {

struct WorkerKey {
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
  friend constexpr auto operator<=>(const WorkerKey&, const WorkerKey&) = default;
};

// Why a process ended. One row each in vocabulary.h with its printed name.
enum class ExitCause {
  exit,
  signal,
  core,
  oom,
  start_timeout,
  stop,
  stop_timeout,
  recycle_max_tasks,
  recycle_self,
  reload,
  restart,
  scale_down,
  left_over,
  spawn_failed,
  start_failed,
  unknown,
  watchdog,
  probe,
  recycle_max_rss,
  recycle_max_lifetime,
  recycle_idle,
  task_timeout,
  task_protocol,
};
// The numbers are part of the state that outlives a supervisor: new ones come last.
inline constexpr std::size_t kExitCauses = static_cast<std::size_t>(ExitCause::task_protocol) + 1;
[[nodiscard]] bool is_planned(ExitCause cause);
[[nodiscard]] bool is_recycling(ExitCause cause);  // a limit was reached, or the worker said so
// mtd ended it because it did not do as it should: planned by nobody, a crash.
[[nodiscard]] bool is_fault(ExitCause cause);

enum class WorkerState {
  starting,
  ready,
  unready,
  draining,
  stopping,
  killing,
  stuck,
  frozen,
  backoff,
  failed,
  stopped,
  completed,
  idle,  // ready, and told that it waits for work
  busy,  // ready, and told that it works
};
// Serving, whatever it is doing.
[[nodiscard]] constexpr bool is_ready(WorkerState state) {
  return state == WorkerState::ready || state == WorkerState::idle || state == WorkerState::busy;
}
// Why a dynamic pool has not been given all the workers it needs.
enum class Restraint {
  none,
  processes,  // limits.processes, or the descriptors, are used up
  memory,     // memory is short
};
enum class PoolState {
  running,
  starting,
  degraded,
  rolling,
  draining,
  stopping,
  stopped,
  completed,
  backoff,
  failed,
  frozen,
};

// ---- Events: facts ------------------------------------------------------------------------------
enum class ReportKind { program, setup_failed, unknown };  // keeper::Outcome of an exited entry
struct Tick {};  // time has passed; deadlines are looked at
struct Spawned {
  WorkerKey key;
  int pid = 0;
};
struct Executed {
  WorkerKey key;
};
struct SpawnRefused {
  WorkerKey key;
  int stage = 0;
  int error = 0;
};  // there never was a process
struct Exited {
  WorkerKey key;
  ReportKind kind = ReportKind::program;
  int stage = 0, error = 0;  // setup_failed
  int wait_status = 0;       // as waitpid(2)
  bool oom = false;          // evidence of an OOM kill was found
};
struct TreeEmpty {
  WorkerKey key;
};  // no descendant of this incarnation lives any more
struct NotifiedReady {
  WorkerKey key;
  bool by_descriptor = false;  // a newline on MTD_READY_FD, not READY=1
};
struct NotifiedStopping {
  WorkerKey key;
};  // the worker retires itself
struct TasksDone {
  WorkerKey key;
  std::uint64_t count = 0;
};
// EXTEND_TIMEOUT_USEC: its start or its end may take this long from now on.
struct NotifiedExtension {
  WorkerKey key;
  Duration by;
};
struct NotifiedAlive {
  WorkerKey key;
  bool trigger = false;  // WATCHDOG=trigger: it gives itself up
};                       // WATCHDOG=1
// WATCHDOG_USEC=: from now on it says WATCHDOG=1 at least so often; infinite: not any more.
struct WatchdogChanged {
  WorkerKey key;
  Duration every;
};
struct MemoryUsed {
  WorkerKey key;
  std::uint64_t bytes = 0;
};  // by it and all that it started
enum class ProbeRole { live, ready };
enum class ProbeOutcome { passed, failed, unknown };  // unknown: it could not be made
struct Probed {
  WorkerKey key;
  ProbeRole role{};
  ProbeOutcome outcome{};
};
// The broker wants it ended with its tree: it goes on with a task that it was told to give up, or
// does not keep to the task protocol.
struct Condemned {
  WorkerKey key;
  ExitCause cause = ExitCause::task_timeout;  // or task_protocol
};
// The stop command of a worker did not do what it should: it is asked by the signal.
struct StopCommandFailed {
  WorkerKey key;
};
// The worker has begun to work, or waits for work again; the task plane tells the same.
struct BusyChanged {
  WorkerKey key;
  bool busy = false;
};
// Work waits (a connection, a task), and the pool, that has no worker, said so: see
// waits_for_demand().
struct Demand {};
// After a restart of the supervisor: a process the keeper still has. Only before any other event.
// Nothing is decided until the first other event; what a remembered process is owed (a signal that
// was decided and not sent, a look at its tree) comes at once. An entry that has exited is Adopted,
// then Exited, unless the memory has it as exited. A remembered process that is never adopted was
// never made (Requested), or has ended in a way nobody can tell. A process that is not remembered
// is judged by these facts alone. fingerprint: spawn_fingerprint it was started with; 0: not known,
// then revision decides whether the process is outdated. task_limit: as SpawnAction said; 0: drawn
// anew.
struct Adopted {
  WorkerKey key;
  std::uint64_t revision = 0;
  int pid = 0;
  bool executed = false;
  bool was_ready = false;
  std::uint64_t tasks = 0;
  Instant started;
  bool stop_sent = false;
  bool exited = false;
  std::uint64_t fingerprint = 0;
  std::uint64_t task_limit = 0;
};

// ---- Events: commands ---------------------------------------------------------------------------
// slots empty: the whole pool
struct StartCommand {
  std::vector<std::uint32_t> slots;
};
// when_free: only what is noted of a whole pool; another one without it follows when nothing needs
// the pool any more (order.h).
enum class StopManner {
  gently,
  now,    // KILL at once
  drain,  // the first stop signal, and all the time it takes
};
struct StopCommand {
  std::vector<std::uint32_t> slots;
  StopManner manner = StopManner::gently;
  bool when_free = false;
};
// What the pool depends on is not there (true): it wants nothing meanwhile. Order decides.
struct HoldBackCommand {
  bool held_back = true;
};
struct RestartCommand {
  std::vector<std::uint32_t> slots;
};
struct ScaleCommand {
  std::optional<std::uint32_t> want;
};  // empty: what the configuration says
// Of a revision that the pool had before (Pool::previous()) it is an undo, which does not fail.
struct ReconfigureCommand {
  config::PoolSpec spec;
  std::uint64_t revision = 0;
};
enum class RolloutOrder {
  pause,  // no further slot begins; those that have begun come to their end
  resume,
  forget,  // that the last new revision did not come up
};
struct RolloutCommand {
  RolloutOrder order{};
};
struct ResetFailedCommand {
  std::vector<std::uint32_t> slots;
};
struct FreezeCommand {
  bool frozen = true;
};
// The answer to ClaimAction, and later again when it was not given all: how many workers a dynamic
// pool may have. It always may have min.
struct GrantCommand {
  std::uint32_t most = 0;
  Restraint restraint{};  // why it is less than was claimed
};

using Event = std::variant<Tick, Spawned, Executed, SpawnRefused, Exited, TreeEmpty, NotifiedReady,
                           NotifiedStopping, NotifiedExtension, NotifiedAlive, WatchdogChanged,
                           TasksDone, Condemned, MemoryUsed, Probed, StopCommandFailed, BusyChanged,
                           Demand, Adopted, StartCommand, StopCommand, HoldBackCommand,
                           RestartCommand, ScaleCommand, ReconfigureCommand, RolloutCommand,
                           ResetFailedCommand, FreezeCommand, GrantCommand>;

// ---- Actions ------------------------------------------------------------------------------------
// task_limit: what recycling drew for this incarnation, 0: none; belongs into the entry's label.
struct SpawnAction {
  WorkerKey key;
  std::uint64_t revision = 0;
  std::uint64_t task_limit = 0;
};
// TERM and the like are followed by CONT by whoever performs it.
struct SignalAction {
  WorkerKey key;
  int signal = 0;
  config::StopScope scope{};
};
// In place of the first signal of a stop. Answered by StopCommandFailed, or by nothing; run again
// after a restart of the supervisor, which it does not outlive.
struct StopCommandAction {
  WorkerKey key;
};
struct KillTreeAction {
  WorkerKey key;
};  // SIGKILL to main process and all descendants
struct WatchTreeAction {
  WorkerKey key;
};  // main has exited: report TreeEmpty once it is so
struct ForgetAction {
  WorkerKey key;
};  // release the keeper's entry, remove the cgroup
struct FreezeAction {
  WorkerKey key;
  bool frozen = false;
};
// Answered by Probed while the process lives; asked again after a restart of the supervisor.
struct ProbeAction {
  WorkerKey key;
  ProbeRole role{};
};

// A dynamic pool needs more workers than it was granted: to be answered by GrantCommand.
struct ClaimAction {
  std::uint32_t needs = 0;
};

struct ExitRecord {
  ExitCause cause = ExitCause::unknown;
  bool planned = false;
  int wait_status = 0;
  int stage = 0, error = 0;
  int pid = 0;
  std::uint64_t incarnation = 0;
  Instant at;

  // There was a process, and how it ended is known.
  [[nodiscard]] bool has_status() const {
    return cause != ExitCause::spawn_failed && cause != ExitCause::unknown;
  }
  bool operator==(const ExitRecord&) const = default;
};

// What changed, for the event stream and the log. One row each in vocabulary.h.
enum class Happening {
  spawned,
  executed,
  ready,
  signalled,
  exited,
  spawn_failed,
  stopped,
  backoff,
  failed,
  completed,
  stuck,
  recycling,
  scaled,
  started,
  stopping,
  reloaded,
  restarting,
  breaker_opened,
  breaker_half_open,
  breaker_closed,
  frozen,
  thawed,
  tree_killed,
  rollout_failed,
  rollout_paused,
  rollout_resumed,
  rolled_back,
  unready,
  draining,
  waiting,
  admitted,
  grown,
  shrunk,
  demanded,
  held_back,
  stop_command,
};
struct PublishAction {
  Happening happening{};
  std::optional<WorkerKey> worker;  // empty: about the pool
  int pid = 0;
  std::optional<ExitRecord> exit;
  std::optional<Duration> next_attempt;  // from now
  std::uint64_t number = 0;              // scaled, grown, shrunk: the new want; held_back: what is
                                         // needed; signalled: the signal
};

using Action =
    std::variant<SpawnAction, SignalAction, StopCommandAction, KillTreeAction, WatchTreeAction,
                 ForgetAction, FreezeAction, ProbeAction, ClaimAction, PublishAction>;

// ---- Views: what status, why and events tell ----------------------------------------------------
struct ProcessView {
  WorkerKey key;
  WorkerState state{};
  int pid = 0;  // 0: none
  std::uint64_t revision = 0;
  Instant started;
  Instant state_deadline = Instant::never();            // of start, stop, kill
  std::uint64_t tasks = 0, task_limit = 0;              // limit 0: none
  std::uint64_t rss_limit = 0;                          // bytes; 0: none
  Instant expires = Instant::never();                   // recycle.max_lifetime, or idle_timeout
  Instant alive_until = Instant::never();               // WATCHDOG=1 is due
  std::uint32_t live_failures = 0, ready_failures = 0;  // of probes, in a row
  std::optional<ExitCause> ending;                      // why it is being ended
};
struct SlotView {
  std::uint32_t slot = 0;
  WorkerState state{};
  std::vector<ProcessView> processes;  // newest first; empty when none
  std::uint64_t incarnation = 0;       // the last one spawned
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0;
  Instant next_attempt = Instant::never();
  std::vector<ExitRecord> exits;  // last first, at most 8
};
enum class RolloutState {
  none,
  rolling,  // to `revision`
  paused,
  waiting,  // until the processes that an earlier one replaced have ended
  back,     // to `revision`, which was in force before
};
struct RolloutView {
  RolloutState state{};
  std::uint32_t remaining = 0;  // slots whose process is still to be replaced
  std::uint32_t failures = 0;   // of processes of the new revision
  std::uint64_t previous = 0;   // the revision an undo leads to; 0: none
  std::uint64_t failed = 0;     // the revision that was tried last and did not come up; 0: none
  std::optional<std::uint32_t> failed_slot;  // whose end decided so
  std::optional<ExitRecord> failed_exit;     // that end
};
struct PoolView {
  PoolState state{};
  Instant since;  // of state
  std::uint32_t want = 0, want_file = 0, ready = 0, alive = 0;
  std::uint64_t restarts = 0, recycled = 0, spawn_failures = 0, stale_facts = 0;
  std::uint64_t revision = 0;
  std::uint32_t outdated = 0;  // processes of an older revision
  std::uint32_t stuck = 0;     // processes and left-over trees that outlive SIGKILL
  bool breaker_open = false;
  Instant breaker_retry = Instant::never();
  std::uint32_t crashes_in_window = 0;
  std::uint32_t crash_limit = 0;  // in force: crash_limit.count or 5 × workers
  RolloutView rollout;
  bool held_back = false;             // it waits for what it depends on
  bool stop_due = false;              // it is stopped as soon as nothing needs it
  bool programs_run = false;          // those of all wanted slots
  std::optional<std::uint32_t> busy;  // empty: no worker has ever told
  bool dynamic = false;               // and the rest, of a dynamic pool only
  bool by_hand = false;               // its number was set by a person
  std::uint32_t need = 0;
  Restraint restraint{};
  bool demanded = false;                 // work waits for the first worker
  Instant shrink_at = Instant::never();  // when it is looked whether it can have less
  std::uint32_t restart_remaining = 0;   // … by a restart command
  std::vector<SlotView> slots;           // 0..want−1, and higher ones that still hold a process
};

// Since when the ready processes are so: the one that has been for longest, and the newest.
struct ReadySpan {
  Instant first = Instant::never();  // none is ready
  Instant last;
};

// Less memory than this is under every limit that recycle.max_rss may draw; 0: there is none.
[[nodiscard]] std::uint64_t least_rss_limit(const config::RecycleSpec& recycle);

// How far a process has come, as far as the pool was told.
enum class Stage { requested, launching, running, ended };

// A configuration of the pool besides the one in force.
struct Revision {
  std::uint64_t number = 0;
  std::shared_ptr<const config::PoolSpec> spec;  // never null
  bool operator==(const Revision& other) const {
    return number == other.number && spec->spawn_fingerprint == other.spec->spawn_fingerprint;
  }
};

struct PoolMemory;  // memory.h
class CrashWindow;  // breaker.h
struct SlotMemory;

class Pool {
 public:
  // Starts with nothing running; the first step (any event, usually Tick) spawns. A pool that is
  // not enabled, or whose memory says stopped, stays stopped until StartCommand.
  Pool(config::PoolSpec spec, std::uint64_t revision, Instant now);
  // Goes on where an earlier life was: Adopted follows for every process the keeper has.
  Pool(config::PoolSpec spec, std::uint64_t revision, Instant now, const PoolMemory& memory);

  // entropy: a fresh random number per call; all jitter is drawn from it.
  [[nodiscard]] std::vector<Action> step(const Event& event, Instant now, std::uint64_t entropy);
  // Never in the past after step(…, now, …); never() when nothing is waited for.
  [[nodiscard]] Instant next_deadline() const;

  [[nodiscard]] PoolView view(Instant now) const;
  // The slots that view() has, without what they hold.
  [[nodiscard]] std::vector<std::uint32_t> shown_slots() const;
  // view() has it: it has a place, or holds a process.
  [[nodiscard]] bool has_slot(std::uint32_t slot) const;
  // The same without slots, and one slot alone (empty: no such slot); O(1).
  [[nodiscard]] PoolView summary(Instant now) const;
  [[nodiscard]] std::optional<SlotView> slot_view(std::uint32_t slot, Instant now = {}) const;
  // Of these slots; empty: of all that are wanted.
  [[nodiscard]] ReadySpan ready_span(const std::vector<std::uint32_t>& slots) const;
  [[nodiscard]] PoolMemory memory() const;
  // The same without slots and crashes, and these alone; O(1).
  [[nodiscard]] PoolMemory memory_without_slots() const;
  [[nodiscard]] const CrashWindow& crashes() const;
  [[nodiscard]] SlotMemory slot_memory(std::uint32_t slot) const;
  // Whether the memory the pool began with, or it since, holds this process.
  [[nodiscard]] bool knows(const WorkerKey& key) const;
  [[nodiscard]] Stage stage_of(const WorkerKey& key) const;  // requested: also when not known
  // Slots whose memory may have changed since the last call.
  [[nodiscard]] std::vector<std::uint32_t> take_touched();
  [[nodiscard]] const config::PoolSpec& spec() const;
  // The number of spec(). A roll-out that fails goes back to an older one by itself.
  [[nodiscard]] std::uint64_t revision() const;
  // The signal of the step that the process's stop has come to; 0: it is in none.
  [[nodiscard]] int stop_signal_of(const WorkerKey& key) const;
  // A person has stopped it, or it was never started.
  [[nodiscard]] bool is_stopped() const;
  // It is held back, or its stop is due.
  [[nodiscard]] bool is_ordered() const;
  [[nodiscard]] StopManner stop_due() const;  // gently where none is
  // What an undo leads to, and what a failing roll-out goes back to.
  [[nodiscard]] const std::optional<Revision>& previous() const;
  // What previous() will be after a ReconfigureCommand that needs new processes.
  [[nodiscard]] Revision fallback_of_change() const;
  // Did not come up, and is what the files may still say.
  [[nodiscard]] const config::PoolSpec* failed_spec() const;
  // A dynamic pool without workers: someone should say Demand when a connection or a task waits.
  [[nodiscard]] bool waits_for_demand() const;
  // What it claims of all pools' workers, and how many of these it needs; more than what it has
  // been granted: it waits. Pools of a fixed number always have what they want.
  struct Share {
    std::uint32_t floor = 0;  // that nobody can take from it
    std::uint32_t has = 0;    // granted, or more
    std::uint32_t needs = 0;
    [[nodiscard]] bool waits() const { return needs > has; }
  };
  [[nodiscard]] Share share() const;
  // True when nothing of it lives: no process, no descendant, no spawn under way.
  [[nodiscard]] bool is_empty() const;
  // True when nothing is on its way: wanted equals actual, or only back-off and breaker wait.
  [[nodiscard]] bool is_settled() const;

  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  Pool(const Pool& other);  // a value: a copy goes its own way
  Pool& operator=(const Pool& other);
  ~Pool();

  struct State;  // state.h; for the model and its tests only
  [[nodiscard]] const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace mtd::model
