#include "common/control_types.h"

#include <array>

namespace mtd::control {
namespace {

constexpr std::array kDaemon{
    Member{"version", "string", "version of mtd"},
    Member{"pid", "int", "process id of the keeper, the parent of every worker"},
    Member{"supervisor_pid", "int", "process id of the supervisor, which answers here"},
    Member{"uptime_ms", "int", "since the keeper started"},
    Member{"config_rev", "int", "counts the configurations applied"},
    Member{"config_in_sync", "?bool", "the files say what is in force; null: not known"},
    Member{"config_error", "?string", "why the files could not be applied"},
    Member{"config_path", "string", "the file or directory read"},
    Member{"workers_ready", "int", "over all pools"},
    Member{"workers_want", "int", "over all pools"},
    Member{"stray", "int", "processes left behind by workers that have ended"},
    Member{"stale_facts", "int", "late facts about processes that were replaced; dropped"},
    Member{"keeper_version", "?string", "version of the keeper, where it is another one"},
    Member{"upgrade", "?UpgradeInfo", "the last upgrade in place; null: none since mtd started"},
    Member{"warnings", "[]string", "sentences about what deserves attention"},
};

constexpr std::array kUpgradeInfo{
    Member{"number", "int", "counts the upgrades of this daemon"},
    Member{"state", "string", "running, done or failed"},
    Member{"from", "string", "version before"},
    Member{"to", "string", "version of the new programs"},
    Member{"message", "?string", "why it failed"},
};

constexpr std::array kBreaker{
    Member{"open", "bool", "nothing is started: too many crashes in the window"},
    Member{"retry_ms", "?int", "until one worker is tried again"},
    Member{"crashes_in_window", "int", "counted now"},
    Member{"limit", "int", "crashes in the window that open the breaker"},
    Member{"window_ms", "int", "length of the window"},
};

constexpr std::array kExit{
    Member{"cause", "string",
           "exit, signal, core, oom, watchdog, probe, start_timeout, task_timeout, "
           "task_protocol, stop, "
           "stop_timeout, recycle:max_tasks, recycle:max_rss, recycle:max_lifetime, recycle:idle, "
           "recycle:self, reload, restart, scale_down, drain, left_over, spawn_failed, "
           "start_failed, unknown"},
    Member{"signal", "?int", "number of the signal that ended it"},
    Member{"signal_name", "?string", "its name, as in SIGKILL"},
    Member{"code", "?int", "exit code, 0 to 255"},
    Member{"core", "bool", "memory was dumped"},
    Member{"at", "string", "when, RFC 3339"},
    Member{"planned", "bool", "wanted by mtd or by its operator; never counted as a crash"},
    Member{"stage", "?string", "of spawn_failed: what could not be done"},
    Member{"errno", "?int", "of spawn_failed: what the kernel answered"},
    Member{"errno_name", "?string", "its name, as in ENOENT"},
    Member{"pid", "int", "process id it had"},
    Member{"incarnation", "int", "which spawn of its slot it was"},
    Member{"user_cpu_ms", "?int", "processor time in user mode"},
    Member{"system_cpu_ms", "?int", "processor time in the kernel"},
    Member{"max_rss_bytes", "?int", "most memory resident at once"},
};

constexpr std::array kRetiring{
    Member{"pid", "int", "process id"},
    Member{"incarnation", "int", "which spawn of the slot it is"},
    Member{"state", "string", "draining, stopping, killing or stuck"},
    Member{"ending", "?string", "why it ends: an exit cause"},
};

constexpr std::array kWorker{
    Member{"id", "int", "number of the slot in its pool"},
    Member{"name", "string", "POOL/ID, as selectors use it"},
    Member{"pid", "?int", "process id; null: no process now"},
    Member{"state", "string",
           "starting, idle, busy, ready, unready, draining, stopping, killing, stuck, frozen, "
           "backoff, failed, stopped"},
    Member{"revision", "int", "configuration it was started with"},
    Member{"incarnation", "int", "counts the spawns of the slot"},
    Member{"started", "?string", "when, RFC 3339"},
    Member{"uptime_ms", "int", "since then"},
    Member{"tasks", "int", "tasks this process has finished"},
    Member{"task_limit", "?int", "tasks after which it is recycled"},
    Member{"current_task", "?string", "the task it works on"},
    Member{"rss_bytes", "?int", "resident memory"},
    Member{"cpu_pct", "?float", "processor use, 100 = one processor"},
    Member{"restarts", "int", "unplanned ends of the slot's processes"},
    Member{"recycled", "int", "planned replacements of the slot's processes"},
    Member{"next_attempt_ms", "?int", "until it is started again"},
    Member{"status_text", "?string", "what it last sent as STATUS= to NOTIFY_SOCKET"},
    Member{"probe_text", "?string", "what was wrong with the last of its probes; null: nothing"},
    Member{"cgroup", "?string", "its cgroup directory"},
    Member{"ending", "?string", "why it is being ended: an exit cause"},
    Member{"retiring", "?[]Retiring", "older processes of the slot that are still ending"},
    Member{"last_exit", "?Exit", "the last end of one of the slot's processes"},
    Member{"exits", "?[]Exit", "the last ends, newest first; Why only"},
};

constexpr std::array kListen{
    Member{"address", "string", "as in the configuration, without options"},
    Member{"name", "string", "its part of LISTEN_FDNAMES"},
    Member{"sockets", "int", "open for it: one, or with reuse_port one a slot"},
    Member{"waiting", "?int", "connections no worker has accepted yet; null: not known"},
    Member{"problem", "?string", "why nobody can connect, for people"},
};

constexpr std::array kRollout{
    Member{"state", "string",
           "none, rolling, paused, back (to the revision before) or waiting (for the workers that "
           "an earlier roll-out replaced)"},
    Member{"to", "int", "the revision in force"},
    Member{"previous", "?int", "the revision that an undo leads to; null: there is none"},
    Member{"remaining", "int", "workers still to be replaced"},
    Member{"failures", "int", "crashes and failed starts of the new revision's workers"},
    Member{"failed_revision", "?int", "was tried last and did not come up"},
    Member{"failed_because", "?string", "why it did not, for people"},
};

constexpr std::array kScaling{
    Member{"min", "int", "the fewest workers"},
    Member{"max", "int", "the most"},
    Member{"spare", "int", "idle ones beyond the busy ones"},
    Member{"quiet_ms", "int", "an idle one ends after it was not needed for so long"},
    Member{"need", "int", "workers needed now"},
    Member{"by_hand", "bool", "the number was set by a person and does not follow the work"},
    Member{"held_back", "?string", "processes or memory: why it is not given what it needs"},
    Member{"shrink_ms", "?int", "until it is looked whether it can do with less"},
};

constexpr std::array kPool{
    Member{"name", "string", "of the pool"},
    Member{"state", "?string",
           "running, starting, degraded, rolling, draining, stopping, stopped, completed, backoff, "
           "failed, frozen"},
    Member{"want", "?int", "workers asked for now"},
    Member{"want_file", "?int", "workers the configuration asks for"},
    Member{"ready", "?int", "workers that are ready"},
    Member{"busy", "?int", "workers that told they are busy; null: none has told"},
    Member{"idle", "?int", "ready workers that are not busy"},
    Member{"scaling", "?Scaling", "of a dynamic pool"},
    Member{"queue", "?object", "the task queue"},
    Member{"restarts", "?int", "unplanned ends since mtd started or reset-failed"},
    Member{"recycled", "?int", "planned replacements"},
    Member{"spawn_failures", "?int", "starts that failed before the program ran"},
    Member{"revision", "?int", "counts the pool's configurations"},
    Member{"outdated", "?int", "workers that run an older revision"},
    Member{"enabled", "?bool", "it is started with mtd"},
    Member{"waits_for", "?string", "what it depends on and is not there, for people"},
    Member{"rollout", "?RolloutState", "how a new revision replaces the workers"},
    Member{"since", "?string", "when the state began, RFC 3339"},
    Member{"since_ms", "?int", "how long ago that was"},
    Member{"note", "?string", "what happens next, for people; may be empty"},
    Member{"listen", "?[]Listen", "sockets its workers share"},
    Member{"stopped_by", "?int", "uid of who stopped it"},
    Member{"breaker", "?Breaker", "the crash breaker"},
    Member{"workers", "?[]Worker", "when asked for with more"},
    Member{"lines", "?[]string", "what happened and what happens next, sentences; Why only"},
};

constexpr std::array kProcess{
    Member{"pid", "int", "process id"},
    Member{"comm", "string", "its short name"},
};

constexpr std::array kStuck{
    Member{"pid", "int", "process id"},
    Member{"worker", "string", "whose it is"},
};

constexpr std::array kPoolResult{
    Member{"name", "string", "of the pool"},
    Member{"state", "string", "as in Pool"},
    Member{"ready", "int", "workers that are ready"},
    Member{"want", "int", "workers asked for"},
    Member{"ok", "bool", "what was asked for is true"},
    Member{"message", "string", "what was done, for people"},
    Member{"elapsed_ms", "?int", "how long it took"},
    Member{"exited", "?int", "processes that ended by themselves when asked"},
    Member{"killed", "?int", "processes that had to be killed"},
    Member{"leftovers", "?[]Process", "processes that outlived their worker and were killed"},
    Member{"stuck", "?[]Stuck", "processes that even SIGKILL has not ended yet"},
};

constexpr std::array kPoolPlan{
    Member{"pool", "string", "its name"},
    Member{"apply", "string", "hot, rolling, restart, add, remove or unchanged"},
    Member{"keys", "[]string", "configuration keys that force it"},
};

constexpr std::array kPlan{
    Member{"pools", "[]PoolPlan", "one a pool"},
    Member{"daemon_keys", "?[]string", "changed keys of the daemon that apply at once"},
    Member{"daemon_restart_keys", "?[]string", "changed keys that need a restart of mtd"},
};

constexpr std::array kEvent{
    Member{"cursor", "string", "EPOCH:NUMBER, to go on after it"},
    Member{"time", "?string", "RFC 3339"},
    Member{"event", "string",
           "what happened; \"lagged\": events were lost because the reader was too slow"},
    Member{"missed", "?int", "how many were lost (lagged)"},
    Member{"pool", "?string", "name of the pool"},
    Member{"worker", "?string", "POOL/ID"},
    Member{"pid", "?int", "process id"},
    Member{"incarnation", "?int", "which spawn of the slot it is"},
    Member{"state", "?string", "the state that follows from it"},
    Member{"last_exit", "?Exit", "how the process ended"},
    Member{"next_attempt_ms", "?int", "until it is started again"},
    Member{"detail", "?string", "for people"},
};

constexpr std::array kTreeWorker{
    Member{"name", "string", "POOL/ID; \"\": strays of no worker"},
    Member{"pid", "?int", "its main process"},
    Member{"cgroup", "?string", "its cgroup directory"},
    Member{"pids", "?[]int", "every process of it; null: see the cgroup"},
};

constexpr std::array kLimit{
    Member{"name", "string", "of the limit"},
    Member{"limit", "?int", "in force; null: none"},
    Member{"used", "?int", "now"},
    Member{"unit", "string", "processes, clients, bytes, descriptors, events, …"},
    Member{"note", "?string", "for people"},
};

constexpr std::array kHost{
    Member{"cgroup", "string", "how process trees are held together here, and if not, why"},
    Member{"subreaper", "bool", "orphans come to the keeper"},
    Member{"service_manager", "bool", "started by one that wants notifications"},
    Member{"capacity_workers", "int", "workers the limits of this host allow"},
    Member{"cannot", "[]string", "what this host cannot do"},
};

constexpr std::array kObjects{
    ObjectType{"Daemon", "mtd itself", kDaemon},
    ObjectType{"UpgradeInfo", "An upgrade in place", kUpgradeInfo},
    ObjectType{"Breaker", "The crash breaker of a pool", kBreaker},
    ObjectType{"Exit", "The end of a process", kExit},
    ObjectType{"Retiring", "An older process of a slot that is still ending", kRetiring},
    ObjectType{"Worker", "One slot of a pool", kWorker},
    ObjectType{"RolloutState", "The roll-out of a revision", kRollout},
    ObjectType{"Listen", "A socket of a pool", kListen},
    ObjectType{"Scaling", "The bounds of a dynamic pool, and what it needs", kScaling},
    ObjectType{"Pool",
               "A pool of workers. The later replies of a Status call with more carry name and "
               "workers only",
               kPool},
    ObjectType{"Process", "A process by its short name", kProcess},
    ObjectType{"Stuck", "A process that does not end", kStuck},
    ObjectType{"PoolResult", "What became of a pool one asked something of", kPoolResult},
    ObjectType{"PoolPlan", "How a changed configuration is applied to a pool", kPoolPlan},
    ObjectType{"Plan", "How a changed configuration is applied", kPlan},
    ObjectType{"Event", "A state change. Members that do not apply are left out", kEvent},
    ObjectType{"TreeWorker", "The processes of a worker", kTreeWorker},
    ObjectType{"Limit", "A limit in force", kLimit},
    ObjectType{"Host", "What the machine allows", kHost},
};

constexpr std::array kErrors{
    ErrorType{"NoSuchPool", "(selector: string)", "A selector names no pool"},
    ErrorType{"NoSuchWorker", "(selector: string)", "A selector names no worker of its pool"},
    ErrorType{"Failed", "(message: string, pools: ?[]PoolResult)", "It could not be done"},
    ErrorType{"Conflict", "(message: string)",
              "The state is not the one the call expected, or another change is under way"},
    ErrorType{"PermissionDenied", "(message: string)", "The caller's access tier is too low"},
    ErrorType{"InvalidConfiguration", "(errors: []string)",
              "The configuration files have errors; nothing was changed"},
    ErrorType{"Busy", "(message: string)", "Not now; trying again later may do"},
    ErrorType{"NotReady", "(message: string, pools: []Pool)", "Not all are ready"},
    ErrorType{"ShuttingDown", "(message: string)", "mtd is stopping everything"},
};

constexpr std::array kServiceErrors{
    ErrorType{"InterfaceNotFound", "(interface: string)", "The service has no such interface"},
    ErrorType{"MethodNotFound", "(method: string)", "The interface has no such method"},
    ErrorType{"MethodNotImplemented", "(method: string)",
              "The interface has the method, this service does not do it"},
    ErrorType{"InvalidParameter", "(parameter: string)",
              "A parameter or another member of the call is wrong"},
    ErrorType{"ExpectedMore", "()", "The method answers calls with more only"},
};

}  // namespace

std::span<const ObjectType> object_types() {
  return kObjects;
}
std::span<const ErrorType> errors() {
  return kErrors;
}
std::span<const ErrorType> service_errors() {
  return kServiceErrors;
}

}  // namespace mtd::control
