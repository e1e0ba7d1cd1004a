#include "config/keys.h"

#include <array>
#include <cmath>

#include <nlohmann/json.hpp>

#include "common/log_levels.h"
#include "config/binding.h"
#include "config/keys_health.h"
#include "config/keys_hooks.h"
#include "config/keys_limits.h"
#include "config/keys_order.h"
#include "config/keys_tasks.h"
#include "config/resolved_json.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;

template <auto... Members>
constexpr Binding<PoolSpec> of_pool() {
  return bind<PoolSpec, Members...>();
}
template <auto... Members>
constexpr Binding<DaemonSpec> of_daemon() {
  return bind<DaemonSpec, Members...>();
}

template <class Spec>
Key<Spec> row(KeyInfo info, Binding<Spec> binding) {
  return {std::move(info), binding.set, binding.get};
}
// A key whose value resolve.cpp works out; `get` null: it is part of another key's outcome.
template <class Spec>
Key<Spec> resolved(KeyInfo info, Json (*get)(const Spec&, const KeyInfo&)) {
  return {std::move(info), nullptr, get};
}
PoolKey part_of_another(KeyInfo info) {
  return {std::move(info), nullptr, nullptr};
}

constexpr double kHourMs = 3'600'000;
constexpr double kYearMs = 365 * 24 * kHourMs;

template <auto Member>
PoolKey off_or_duration(std::string_view path, std::string_view doc) {
  return {{path, Type::duration, 1, kYearMs, {}, "off", Apply::hot, doc},
          [](PoolSpec& spec, const Scalar& value, const KeyInfo&) {
            spec.recycle.*Member = std::get<Duration>(value);
          },
          [](const PoolSpec& spec, const KeyInfo&) {
            const Duration limit = spec.recycle.*Member;
            return limit.is_zero() ? Json() : Json(format_duration(limit));
          }};
}

std::vector<PoolKey> make_pool_keys() {
  using S = PoolSpec;
  std::vector<PoolKey> keys{
      resolved<S>({"command",
                   Type::command,
                   0,
                   0,
                   {},
                   "required",
                   Apply::rolling,
                   "The program and its arguments: a list, or one string that is split as a shell "
                   "would, without a shell. The program is looked up through the worker's PATH "
                   "when the configuration is read."},
                  json_command),
      PoolKey{
          {"workers",
           Type::count,
           0,
           kMaxWorkers,
           {"auto"},
           "1",
           Apply::hot,
           "How many processes to keep running; \"auto\" is one per CPU. An object makes the pool "
           "dynamic: it has as many workers as are busy and some spare ones; see \"Dynamic pools\" "
           "above."},
          [](S& spec, const Scalar& value, const KeyInfo&) {
            spec.workers = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
          },
          [](const S& spec, const KeyInfo&) {
            return spec.scaling.max == 0 ? Json(spec.workers) : Json();
          }},
      PoolKey{{"workers.min",
               Type::integer,
               0,
               kMaxWorkers,
               {},
               "1 of a dynamic pool",
               Apply::hot,
               "The fewest workers of a dynamic pool. With 0 the first one is started when a "
               "connection waits at one of its listen sockets, or a task in its queue."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.scaling.min = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
                spec.workers = spec.scaling.min;
              },
              [](const S& spec, const KeyInfo&) {
                return spec.scaling.max != 0 ? Json(spec.scaling.min) : Json();
              }},
      PoolKey{{"workers.max",
               Type::integer,
               1,
               kMaxWorkers,
               {"auto"},
               "none; a dynamic pool needs it",
               Apply::hot,
               "The most workers of a dynamic pool; \"auto\" is one per CPU."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.scaling.max = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
              },
              [](const S& spec, const KeyInfo&) {
                return spec.scaling.max != 0 ? Json(spec.scaling.max) : Json();
              }},
      PoolKey{{"workers.spare",
               Type::integer,
               0,
               kMaxWorkers,
               {},
               "1 of a dynamic pool",
               Apply::hot,
               "How many idle workers a dynamic pool keeps beyond the busy ones; with fewer it "
               "grows at "
               "once."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.scaling.spare = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
              },
              [](const S& spec, const KeyInfo&) {
                return spec.scaling.max != 0 ? Json(spec.scaling.spare) : Json();
              }},
      PoolKey{{"workers.quiet",
               Type::duration,
               1,
               kYearMs,
               {},
               "\"30s\" of a dynamic pool",
               Apply::hot,
               "An idle worker of a dynamic pool is ended after it was not needed for so long."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.scaling.quiet = std::get<Duration>(value);
              },
              [](const S& spec, const KeyInfo&) {
                return spec.scaling.max != 0 ? Json(format_duration(spec.scaling.quiet)) : Json();
              }},
      row({"enabled",
           Type::boolean,
           0,
           0,
           {},
           "true",
           Apply::hot,
           "Whether the pool is started with mtd."},
          of_pool<&S::enabled>()),
      resolved<S>({"cwd",
                   Type::path,
                   0,
                   0,
                   {},
                   "\"/\"",
                   Apply::rolling,
                   "Working directory of the workers."},
                  json_directory),
      resolved<S>({"user",
                   Type::text,
                   0,
                   0,
                   {},
                   "the user mtd runs as",
                   Apply::rolling,
                   "User name, or a number, that the workers run as. Looked up when the "
                   "configuration is read; an unknown one is an error."},
                  json_user),
      resolved<S>({"group",
                   Type::text,
                   0,
                   0,
                   {},
                   "the user's own group",
                   Apply::rolling,
                   "Group name or number."},
                  json_group),
      resolved<S>({"groups",
                   Type::names,
                   0,
                   0,
                   {},
                   "the groups the user is in",
                   Apply::rolling,
                   "Supplementary groups; replaces those the user is a member of."},
                  json_groups),
      PoolKey{{"umask",
               Type::mode,
               0,
               0777,
               {},
               "\"022\"",
               Apply::rolling,
               "File mode creation mask, in octal, as a string."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.umask = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
              },
              json_umask},
      resolved<S>({"env",
                   Type::environment,
                   0,
                   0,
                   {},
                   "{}",
                   Apply::rolling,
                   "Environment variables; stronger than env_file and env_pass."},
                  json_environment),
      part_of_another({"env_file",
                       Type::paths,
                       0,
                       0,
                       {},
                       "[]",
                       Apply::rolling,
                       "One file or several with lines NAME=VALUE; empty lines and lines beginning "
                       "with # are skipped, a value may stand in quotes."}),
      part_of_another({"env_clear",
                       Type::boolean,
                       0,
                       0,
                       {},
                       "false",
                       Apply::rolling,
                       "Leave out PATH, HOME, USER, LOGNAME, SHELL and LANG, which every worker "
                       "gets otherwise."}),
      part_of_another({"env_pass",
                       Type::names,
                       0,
                       0,
                       {},
                       "[]",
                       Apply::rolling,
                       "Names of variables to take over from the environment mtd was started with, "
                       "where they are set."}),
      row({"restart",
           Type::word,
           0,
           0,
           {"always", "on-failure", "never"},
           "\"always\"",
           Apply::hot,
           "Which ended workers are started again: all, those that ended with a code not in "
           "success_codes or by a signal, or none."},
          of_pool<&S::restart>()),
      row({"success_codes",
           Type::codes,
           0,
           255,
           {},
           "[0]",
           Apply::hot,
           "Exit codes that are no failure."},
          of_pool<&S::success_codes>()),
      row({"no_restart_codes",
           Type::codes,
           0,
           255,
           {},
           "[]",
           Apply::hot,
           "Exit codes after which a worker is not started again whatever restart says."},
          of_pool<&S::no_restart_codes>()),
      row({"backoff.initial",
           Type::duration,
           0,
           kYearMs,
           {},
           "\"500ms\"",
           Apply::hot,
           "Delay before a failed worker's second restart; the first after a stable run is "
           "immediate."},
          of_pool<&S::backoff, &Backoff::initial>()),
      row({"backoff.factor",
           Type::number,
           1,
           100,
           {},
           "2",
           Apply::hot,
           "By how much each further delay is longer."},
          of_pool<&S::backoff, &Backoff::factor>()),
      row({"backoff.max",
           Type::duration,
           0,
           kYearMs,
           {},
           "\"30s\"",
           Apply::hot,
           "The longest delay; at least backoff.initial."},
          of_pool<&S::backoff, &Backoff::max>()),
      row({"backoff.jitter",
           Type::number,
           0,
           1,
           {},
           "0.1",
           Apply::hot,
           "The part of a delay that is added at random, so that workers do not start in step."},
          of_pool<&S::backoff, &Backoff::jitter>()),
      row({"backoff.reset_after",
           Type::duration,
           0,
           kYearMs,
           {"infinity"},
           "\"30s\"",
           Apply::hot,
           "A worker that ran this long starts its delays afresh."},
          of_pool<&S::backoff, &Backoff::reset_after>()),
      row({"crash_limit.count",
           Type::integer,
           1,
           1'000'000,
           {},
           "5 times workers",
           Apply::hot,
           "So many crashes of the pool within crash_limit.window open its breaker."},
          of_pool<&S::crash_limit, &CrashLimit::count>()),
      row({"crash_limit.window",
           Type::duration,
           1,
           kYearMs,
           {},
           "\"1m\"",
           Apply::hot,
           "The time in which crashes are counted."},
          of_pool<&S::crash_limit, &CrashLimit::window>()),
      row({"crash_limit.action",
           Type::word,
           0,
           0,
           {"backoff", "fail"},
           "\"backoff\"",
           Apply::hot,
           "With an open breaker: try one worker again after retry_after, or fail for good until "
           "reset-failed."},
          of_pool<&S::crash_limit, &CrashLimit::action>()),
      row({"crash_limit.retry_after",
           Type::duration,
           1,
           kYearMs,
           {},
           "\"5m\"",
           Apply::hot,
           "How long the breaker stays open before one worker is tried."},
          of_pool<&S::crash_limit, &CrashLimit::retry_after>()),
      row({"ready",
           Type::word,
           0,
           0,
           {"exec", "notify", "fd", "probe"},
           "\"probe\" with probes.ready, else \"exec\"",
           Apply::rolling,
           "When a worker counts as ready: as soon as its program runs, when it sends READY=1 to "
           "NOTIFY_SOCKET, when it writes a newline to the descriptor MTD_READY_FD, or when "
           "probes.ready passes."},
          of_pool<&S::ready>()),
      row({"start_timeout",
           Type::duration,
           1,
           kYearMs,
           {"infinity"},
           "\"1m\"",
           Apply::hot,
           "A worker not ready after this is stopped, and its start has failed. It may ask for "
           "more with EXTEND_TIMEOUT_USEC."},
          of_pool<&S::start_timeout>()),
      row({"min_uptime",
           Type::duration,
           0,
           kYearMs,
           {},
           "\"1s\"",
           Apply::hot,
           "A worker that ends sooner than this has failed to start, whatever its exit code: the "
           "next attempt backs off. With a code of success_codes it does not count for "
           "crash_limit."},
          of_pool<&S::min_uptime>()),
      row({"stop.signal",
           Type::signal,
           0,
           0,
           {},
           "\"TERM\"",
           Apply::hot,
           "The signal that asks a worker to end."},
          of_pool<&S::stop, &StopSpec::signal>()),
      row({"stop.timeout",
           Type::duration,
           0,
           kYearMs,
           {"infinity"},
           "\"10s\"",
           Apply::hot,
           "What still runs after this is killed; \"infinity\" waits for ever."},
          of_pool<&S::stop, &StopSpec::timeout>()),
      row({"stop.scope",
           Type::word,
           0,
           0,
           {"tree", "group", "process"},
           "\"tree\"",
           Apply::hot,
           "Who gets the stop signal: everything the worker started, its process group, or the "
           "worker alone."},
          of_pool<&S::stop, &StopSpec::scope>()),
      row({"reload.mode",
           Type::word,
           0,
           0,
           {"rolling", "signal"},
           "\"rolling\"",
           Apply::hot,
           "What a reload does to workers of which no key needs a new process: nothing, or it "
           "sends "
           "them reload.signal, for programs that read their own configuration again. Where a key "
           "does need a new process they are replaced, as in \"Roll-outs\" above."},
          of_pool<&S::reload, &ReloadSpec::mode>()),
      row({"reload.signal",
           Type::signal,
           0,
           0,
           {},
           "\"HUP\"",
           Apply::hot,
           "The signal of reload.mode \"signal\"; the main process of each worker gets it."},
          of_pool<&S::reload, &ReloadSpec::signal>()),
      row({"reload.max_surge",
           Type::integer,
           0,
           kMaxWorkers,
           {},
           "1",
           Apply::hot,
           "How many workers a roll-out may replace at once by a process that runs beside the old "
           "one until it is ready; only with overlap."},
          of_pool<&S::reload, &ReloadSpec::max_surge>()),
      row({"reload.max_unavailable",
           Type::integer,
           0,
           kMaxWorkers,
           {},
           "0",
           Apply::hot,
           "How many further workers a roll-out may stop before their replacement is ready. "
           "Without "
           "overlap, or with max_surge 0, it is at least 1."},
          of_pool<&S::reload, &ReloadSpec::max_unavailable>()),
      resolved<S>(
          {"overlap",
           Type::boolean,
           0,
           0,
           {},
           "false where a single instance is likely, else true",
           Apply::hot,
           "Whether the old and the new process of a slot may run at once, so that the new "
           "one is ready before the old one is stopped. The default is false for a single "
           "worker without listen or tasks, and where command, env or cwd use MTD_WORKER_ID."},
          [](const S& spec, const KeyInfo&) { return Json(spec.overlap); }),
      row({"recycle.max_tasks",
           Type::integer,
           1,
           1e15,
           {},
           "off",
           Apply::hot,
           "A worker is replaced after so many tasks."},
          of_pool<&S::recycle, &RecycleSpec::max_tasks>()),
      part_of_another(
          {"recycle.maxtasksperchild",
           Type::integer,
           1,
           1e15,
           {},
           "off",
           Apply::hot,
           "Another name of recycle.max_tasks; with it, recycle.jitter is 0 unless given."}),
      PoolKey{{"recycle.max_rss",
               Type::size,
               1,
               1e18,
               {},
               "off",
               Apply::hot,
               "A worker is replaced when it and all that it started use so much memory, files "
               "that are only cached left out; looked at every few seconds."},
              [](S& spec, const Scalar& value, const KeyInfo&) {
                spec.recycle.max_rss = static_cast<std::uint64_t>(std::get<std::int64_t>(value));
              },
              [](const S& spec, const KeyInfo&) {
                return spec.recycle.max_rss == 0 ? Json() : Json(spec.recycle.max_rss);
              }},
      off_or_duration<&RecycleSpec::max_lifetime>("recycle.max_lifetime",
                                                  "A worker is replaced when it is so old."),
      off_or_duration<&RecycleSpec::idle_timeout>(
          "recycle.idle_timeout",
          "A worker is replaced when it has reported no task (X_MTD_TASKS) for so long."),
      row({"recycle.jitter",
           Type::number,
           0,
           1,
           {},
           "0.1",
           Apply::hot,
           "By what part of each of these limits a worker may be replaced sooner, drawn at random "
           "for each process, so that not all go at once."},
          of_pool<&S::recycle, &RecycleSpec::jitter>()),
      row({"recycle.concurrency",
           Type::integer,
           1,
           kMaxWorkers,
           {},
           "10 % of workers, at least 1",
           Apply::hot,
           "How many workers may be replaced at the same time."},
          of_pool<&S::recycle, &RecycleSpec::concurrency>()),
      row({"orphans",
           Type::word,
           0,
           0,
           {"kill", "keep"},
           "\"kill\"",
           Apply::hot,
           "What happens to processes that a dead worker leaves behind; a stop of the pool always "
           "ends them."},
          of_pool<&S::orphans>()),
      resolved<S>(
          {"listen",
           Type::sockets,
           0,
           0,
           {},
           "none",
           Apply::rolling,
           "Sockets that mtd opens and all workers of the pool share, as descriptors 3, 4 "
           "and so on; see \"Sockets\" above. Their addresses are opened before anything else "
           "changes."},
          json_listen),
      row({"log.to",
           Type::word,
           0,
           0,
           {"", "inherit", "null", "journal", "direct"},
           "\"journal\" under systemd, else \"inherit\"",
           Apply::rolling,
           "Where output goes: the journal, mtd's own output, nowhere, or the file log.path, which "
           "the worker opens itself."},
          of_pool<&S::log, &LogSpec::to>()),
      resolved<S>({"log.path",
                   Type::path,
                   0,
                   0,
                   {},
                   "none",
                   Apply::rolling,
                   "The file of log.to \"direct\"; opened for appending as the worker's user, "
                   "never through a symbolic link."},
                  json_log_path),
      resolved<S>({"rlimits",
                   Type::limits,
                   0,
                   0,
                   {},
                   "{}",
                   Apply::rolling,
                   "Resource limits by their names in getrlimit(2), as {\"nofile\": 1024}, "
                   "\"soft:hard\", {\"soft\": …, \"hard\": …} or \"infinity\"; limits of bytes may "
                   "be sizes like \"64M\"."},
                  json_rlimits),
      row({"nice",
           Type::integer,
           -20,
           19,
           {},
           "mtd's own",
           Apply::rolling,
           "Scheduling priority; lower is more."},
          of_pool<&S::nice>()),
      row({"oom_score_adj",
           Type::integer,
           -1000,
           1000,
           {},
           "mtd's own",
           Apply::rolling,
           "How gladly the kernel kills workers when memory is short."},
          of_pool<&S::oom_score_adj>()),
  };
  for (auto make : {health_keys, limit_keys, hook_keys, order_keys, task_keys}) {
    for (PoolKey& key : make())
      keys.push_back(std::move(key));
  }
  return keys;
}

std::vector<DaemonKey> make_daemon_keys() {
  using S = DaemonSpec;
  return {
      row({"control.socket",
           Type::path,
           0,
           0,
           {},
           "io.mtd.Manager in the runtime directory",
           Apply::restart,
           "The control socket; at most 107 bytes."},
          of_daemon<&S::control_socket>()),
      resolved<S>({"control.group",
                   Type::text,
                   0,
                   0,
                   {},
                   "none",
                   Apply::restart,
                   "Members of this group may start, stop, restart, scale and signal."},
                  [](const S& spec, const KeyInfo&) {
                    return spec.operate_gid ? Json(std::to_string(*spec.operate_gid)) : Json();
                  }),
      resolved<S>({"control.readonly_group",
                   Type::text,
                   0,
                   0,
                   {},
                   "none",
                   Apply::restart,
                   "Members of this group may look."},
                  [](const S& spec, const KeyInfo&) {
                    return spec.readonly_gid ? Json(std::to_string(*spec.readonly_gid)) : Json();
                  }),
      row({"log.level",
           Type::word,
           0,
           0,
           {kLogLevels.begin(), kLogLevels.end()},
           "\"info\"",
           Apply::hot,
           "How much mtd says about itself."},
          of_daemon<&S::log_level>()),
      row({"limits.processes",
           Type::integer,
           1,
           4'194'304,
           {},
           "what the descriptors allow",
           Apply::hot,
           "The most worker processes of all pools together."},
          of_daemon<&S::max_processes>()),
      row({"limits.start_concurrency",
           Type::integer,
           1,
           kMaxWorkers,
           {},
           "no limit",
           Apply::hot,
           "How many processes may be starting at once, all pools together."},
          of_daemon<&S::start_concurrency>()),
      row({"limits.clients",
           Type::integer,
           4,
           100'000,
           {},
           "1024",
           Apply::hot,
           "How many clients may be connected to the control socket at once."},
          of_daemon<&S::max_clients>()),
      row({"tasks.user",
           Type::text,
           0,
           0,
           {},
           "mtd-tasks if there is such a user, else nobody",
           Apply::restart,
           "Who the broker, which reads what clients and workers send, runs as when mtd runs as "
           "root."},
          of_daemon<&S::task_user>()),
      row({"tasks.directory",
           Type::path,
           0,
           0,
           {},
           "tasks in the state directory",
           Apply::restart,
           "Where tasks are kept: a directory on a local file system, made if need be, for this "
           "mtd alone. What is in another one stays there."},
          of_daemon<&S::task_directory>()),
      row({"tasks.quota",
           Type::size,
           16.0 * (1 << 20),
           16.0 * (1ULL << 40),
           {},
           "\"4G\"",
           Apply::restart,
           "How large the database of tasks and the files of large results may become together. "
           "Puts are refused before it is reached; what is there is worked off, but a large result "
           "for which there is no room is lost, and its task dead."},
          of_daemon<&S::task_quota>()),
      DaemonKey{
          {"limits.memory_pressure",
           Type::percentage,
           1,
           100,
           {"off"},
           "\"20%\"",
           Apply::hot,
           "While something had to wait for memory for at least this part of the last ten "
           "seconds, no dynamic pool grows beyond its first worker. \"off\" never looks at it."},
          [](S& spec, const Scalar& value, const KeyInfo&) {
            spec.memory_pressure = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
          },
          [](const S& spec, const KeyInfo&) {
            return spec.memory_pressure == 0 ? Json("off")
                                             : Json(std::to_string(spec.memory_pressure) + "%");
          }},
  };
}

std::string plain_number(double value) {
  Json json = value;
  if (std::floor(value) == value && std::fabs(value) < 1e16)
    json = static_cast<std::int64_t>(value);
  return json.dump();
}

std::string words_of(const KeyInfo& info) {
  std::string text;
  for (std::size_t i = 0; i < info.words.size(); ++i) {
    if (info.words[i].empty()) continue;
    if (!text.empty()) text += i + 1 == info.words.size() ? " or " : ", ";
    text += "\"" + std::string(info.words[i]) + "\"";
  }
  return text;
}

std::string milliseconds(double ms) {
  return format_duration(Duration::milliseconds(static_cast<std::int64_t>(ms)));
}

std::string duration_expectation(const KeyInfo& info) {
  std::string text = "a duration from " + milliseconds(info.min) + " to " + milliseconds(info.max);
  if (!info.words.empty()) text += ", or " + words_of(info);
  return text + ", like \"10s\" or \"1m30s\"";
}

}  // namespace

std::string_view KeyInfo::name() const {
  return path.substr(path.rfind('.') + 1);
}

std::string KeyInfo::expectation() const {
  switch (type) {
    case Type::boolean:
      return "true or false";
    case Type::integer:
      return "a whole number from " + plain_number(min) + " to " + plain_number(max) +
             (words.empty() ? "" : ", or " + words_of(*this));
    case Type::count:
      return "a whole number from " + plain_number(min) + " to " + plain_number(max) + ", " +
             words_of(*this) + ", or an object, like {\"min\": 1, \"max\": 8}";
    case Type::number:
      return "a number from " + plain_number(min) + " to " + plain_number(max);
    case Type::duration:
      return duration_expectation(*this);
    case Type::word:
      return words_of(*this);
    case Type::signal:
      return "a signal like \"TERM\" or 15";
    case Type::text:
      return "a text that is not empty";
    case Type::path:
      return "an absolute path";
    case Type::mode:
      return "an octal mode in quotes from \"0\" to \"0777\", like \"022\"";
    case Type::codes:
      return "a list of exit codes from 0 to 255, like [0, 3]";
    case Type::names:
      return "a list of names, like [\"a\", \"b\"]";
    case Type::command:
      return "a program with its arguments, like [\"/opt/worker\", \"--fast\"] or \"/opt/worker "
             "--fast\"";
    case Type::paths:
      return "an absolute path or a list of them";
    case Type::environment:
      return "an object of texts, like {\"NAME\": \"value\"}";
    case Type::limits:
      return "an object of resource limits, like {\"nofile\": 1024}";
    case Type::sockets:
      return "a socket or a list of them, like \"tcp:127.0.0.1:8080\"";
    case Type::size:
      return "a size from " + format_size({static_cast<std::uint64_t>(min)}) + " to " +
             format_size({static_cast<std::uint64_t>(max)}) + ", like \"512M\"";
    case Type::percentage:
      return "a percentage in quotes from " + plain_number(min) + "% to " + plain_number(max) +
             "%, like \"" + (max > 100 ? "150" : "25") + "%\"" +
             (words.empty() ? "" : ", or " + words_of(*this));
    case Type::cpus:
      return "numbers of processors, like \"0-3,8\" or [0, 1], or \"per-worker\"";
    case Type::io_priority:
      return "\"idle\", \"best-effort:LEVEL\" or \"realtime:LEVEL\" with a level from 0 (first) to "
             "7";
    case Type::capabilities:
      return "a list of capabilities, like [\"net_bind_service\"]";
    case Type::stop_steps:
      return "a list of signals with times, like [[\"TERM\", \"10s\"], [\"QUIT\", \"5s\"], "
             "[\"KILL\"]], at most " +
             std::to_string(kMaxStopSteps);
    case Type::dependencies:
      return "an object of pools, like {\"db\": \"ready\"}";
    case Type::system_calls:
      return "a list of system calls and groups of them, like [\"@default\", \"socket\"]";
  }
  return {};
}

const std::vector<PoolKey>& pool_keys() {
  static const std::vector<PoolKey> keys = make_pool_keys();
  return keys;
}

const std::vector<DaemonKey>& daemon_keys() {
  static const std::vector<DaemonKey> keys = make_daemon_keys();
  return keys;
}

bool is_reserved_variable(std::string_view name) {
  return name.starts_with("MTD_") || name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_") ||
         name == "NOTIFY_SOCKET";
}

}  // namespace mtd::config
