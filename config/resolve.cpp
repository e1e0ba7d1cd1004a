#include "config/resolve.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "common/escape.h"
#include "common/names.h"
#include "common/size.h"
#include "config/capabilities.h"
#include "config/executable.h"
#include "config/expand.h"
#include "config/host_address.h"
#include "config/identity.h"
#include "config/listen.h"
#include "config/privileges.h"
#include "config/probe_target.h"
#include "config/read_file.h"
#include "config/read_keys.h"
#include "config/rlimits.h"
#include "config/split.h"

namespace mtd::config {
namespace {

class PoolResolver {
 public:
  PoolResolver(const Node& pool, const ResolveOptions& options, Problems& problems,
               std::vector<std::string>& files)
      : pool_(pool),
        options_(options),
        problems_(problems),
        files_(files),
        environment_(pool.name) {
    spec_.name = pool.name;
  }

  PoolSpec run() {
    const std::size_t errors_before = problems_.count();
    given_ = read_keys(pool_keys(), pool_, "pools." + pool_.name, problems_, spec_);
    identity();
    environment();
    directory();
    command();
    commands_beside();
    probes();
    log();
    limits();
    sandbox();
    recycle();
    stop();
    reload();
    listen();
    tasks();
    scaling();
    overlap();
    if (problems_.count() == errors_before) {
      for (const CrossError& error : cross_check(spec_))
        fail(place_of(error.path), error.path, error.message);
      spec_.spawn_fingerprint = fingerprint(spec_);
    }
    return std::move(spec_);
  }

 private:
  [[nodiscard]] const Node* node(std::string_view path) const {
    const auto found = given_.find(path);
    return found == given_.end() ? nullptr : found->second;
  }
  [[nodiscard]] Place place_of(std::string_view path) const {
    const Node* found = node(path);
    return found != nullptr ? found->place : pool_.name_place;
  }
  [[nodiscard]] std::optional<std::string> text(std::string_view path) const {
    const Node* found = node(path);
    if (found == nullptr) return std::nullopt;
    return *found->as<std::string>();
  }
  void fail(Place place, std::string_view path, const std::string& message) {
    std::string context = "pools." + pool_.name;
    if (!path.empty()) context += "." + std::string(path);
    problems_.error(place, context + ": " + message);
  }
  void fail(std::string_view path, const std::string& message) {
    fail(place_of(path), path, message);
  }

  void identity() {
    IdentityKeys keys{text("user"), text("group"), std::nullopt};
    if (const Node* groups = node("groups")) keys.groups = texts_of(*groups);
    who_ = own_identity();
    if (!keys.user && !keys.group && !keys.groups) return;
    auto resolved = resolve_identity(keys);
    if (const auto* error = std::get_if<IdentityError>(&resolved)) {
      fail(error->key, error->message);
      return;
    }
    who_ = std::get<Identity>(std::move(resolved));
    spec_.identity = who_;
    if (::geteuid() != 0 && who_.uid != ::geteuid()) {
      problems_.warn(place_of("user"),
                     "mtd does not run as root and may not be able to run workers as " +
                         escape_for_terminal(who_.user_name));
    }
  }

  void environment() {
    environment_.start = options_.start;
    const Node* clear = node("env_clear");
    if (clear == nullptr || !*clear->as<bool>()) environment_.standard = standard_variables(who_);
    if (const Node* pass = node("env_pass")) pass_variables(*pass);
    if (const Node* own = node("env")) own_variables(*own);
    if (const Node* files = node("env_file")) read_files(*files);
    for (const auto& [name, value] : environment_.own) {
      const auto expanded = environment_.own_value(name);
      if (!expanded) {
        fail(value->place, "env." + name, expanded.error().message);
      } else if (expanded->per_slot) {
        uses_slot_ = true;
      }
    }
    spec_.environment = environment_.build();
  }

  void pass_variables(const Node& pass) {
    for (const std::string& name : texts_of(pass)) {
      if (!is_variable_name(name) || is_reserved_variable(name)) {
        fail(pass.place, "env_pass",
             "\"" + escape_for_terminal(name.substr(0, 64)) + "\" cannot be passed on; " +
                 (is_reserved_variable(name) ? "mtd sets it itself"
                                             : "names are made of letters, digits and _"));
      } else if (const auto found = options_.start.find(name); found != options_.start.end()) {
        environment_.passed.insert(*found);
      }
    }
  }

  void own_variables(const Node& own) {
    for (const Node& member : own.as<Object>()->members) {
      if (is_ignored_key(member.name)) continue;
      const std::string shown = "\"" + escape_for_terminal(member.name.substr(0, 64)) + "\"";
      if (!is_variable_name(member.name)) {
        fail(member.name_place, "env",
             shown + " is no name of a variable; names are made of letters, digits and _");
      } else if (is_reserved_variable(member.name)) {
        fail(member.name_place, "env", shown + " is set by mtd itself; leave it out");
      } else {
        environment_.own.emplace(member.name, &member);
      }
    }
  }

  void read_files(const Node& files) {
    for (const std::string& written : texts_of(files)) {
      const auto path = environment_.expand(written);
      if (!path) return fail("env_file", path.error().message);
      const std::string shown = "\"" + escape_for_terminal(path->text) + "\"";
      if (path->text.front() != '/' || has_markers(path->text)) {
        return fail("env_file",
                    "must be an absolute path that is the same for all workers, not " + shown);
      }
      if (std::find(files_.begin(), files_.end(), path->text) == files_.end())
        files_.push_back(path->text);
      const auto content = read_file(path->text, options_.check_ownership);
      if (!content) return fail("env_file", shown + " " + content.error().message);
      auto variables = parse_env_file(*content);
      if (!variables) return fail("env_file", shown + " " + variables.error().message);
      for (auto& [name, value] : *variables)
        environment_.from_file.insert_or_assign(name, std::move(value));
    }
  }

  // Expands a path; empty after an error.
  std::string path_of(std::string_view key) { return path_of(key, *text(key)); }
  std::string path_of(std::string_view key, const std::string& written) {
    const auto expanded = environment_.expand(written);
    if (!expanded) {
      fail(key, expanded.error().message);
      return {};
    }
    if (!expanded->text.starts_with("/")) {
      fail(key, "must be an absolute path, not \"" + escape_for_terminal(readable(expanded->text)) +
                    "\"");
      return {};
    }
    if (key == "cwd" && expanded->per_slot) uses_slot_ = true;
    return expanded->text;
  }

  void directory() {
    if (node("cwd") == nullptr) return;
    spec_.directory = path_of("cwd");
    if (spec_.directory.empty() || has_markers(spec_.directory)) return;
    struct stat info {};
    if (::stat(spec_.directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      problems_.warn(place_of("cwd"), "pools." + pool_.name + ".cwd: there is no directory \"" +
                                          escape_for_terminal(spec_.directory) + "\" yet");
    }
  }

  void command() {
    const Node* written = node("command");
    if (written == nullptr) {
      if (pool_.member("command") == nullptr)
        fail(pool_.name_place, "", "\"command\" is missing; it names the program to run");
      return;
    }
    // Quotes may keep a variable from us that a shell in the command expands later.
    if (const auto* line = written->as<std::string>())
      uses_slot_ = uses_slot_ || line->find("MTD_WORKER") != std::string::npos;
    Command found = command_of("command", *written);
    uses_slot_ = uses_slot_ || found.per_slot;
    spec_.command = std::move(found.arguments);
    spec_.executable = std::move(found.executable);
  }

  struct Command {
    std::vector<std::string> arguments;  // with markers
    std::string executable;
    bool per_slot = false;
  };
  // Incomplete after an error.
  Command command_of(std::string_view key, const Node& written) {
    Command command;
    std::vector<std::string> arguments = texts_of(written);
    if (const auto* line = written.as<std::string>()) {
      auto split = split_command(*line);
      if (!split) {
        fail(key, split.error().message + " in " + brief(written));
        return command;
      }
      arguments = std::move(*split);
      if (arguments.empty()) {
        fail(key, "names no program");
        return command;
      }
    }
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      auto expanded = environment_.expand(arguments[i]);
      if (!expanded) {
        fail(argument_place(written, i), key, expanded.error().message);
        return command;
      }
      command.per_slot = command.per_slot || expanded->per_slot;
      command.arguments.push_back(std::move(expanded->text));
    }
    command.executable = executable(key, argument_place(written, 0), command.arguments.front());
    return command;
  }

  // What these do differently from worker to worker does not matter to overlap.
  void commands_beside() {
    command_beside("stop.command", spec_.stop.command);
    for (const HookName& hook : kHooks)
      command_beside("hooks." + std::string(hook.name), spec_.hooks.*hook.member);
  }

  void command_beside(const std::string& key, CommandSpec& one) {
    const Node* written = node(key);
    if (written == nullptr) return;
    Command found = command_of(key, *written);
    one.command = std::move(found.arguments);
    one.executable = std::move(found.executable);
  }

  void probes() {
    probe("probes.live.", spec_.probes.live);
    probe("probes.ready.", spec_.probes.ready);
    if (node("ready") == nullptr && spec_.probes.ready.is_set()) spec_.ready = ReadyMode::probe;
  }

  void probe(const std::string& prefix, ProbeSpec& probe) {
    const std::string group = prefix.substr(0, prefix.size() - 1);
    std::vector<std::string> kinds;
    for (const char* kind : {"exec", "http", "tcp", "unix"}) {
      if (node(prefix + kind) != nullptr) kinds.emplace_back(kind);
    }
    if (kinds.empty()) {
      const auto stray = std::find_if(given_.begin(), given_.end(), [&](const auto& each) {
        return each.first.starts_with(prefix);
      });
      if (stray != given_.end()) {
        fail(stray->second->place, group,
             "says how often and not what; give exec, http, tcp or unix");
      }
      return;
    }
    if (kinds.size() > 1) {
      return fail(place_of(prefix + kinds[1]), group,
                  "has \"" + kinds[0] + "\" and \"" + kinds[1] + "\"; a probe is of one kind");
    }
    const std::string key = prefix + kinds[0];
    if (kinds[0] == "exec") {
      Command command = command_of(key, *node(key));
      probe.exec = std::move(command.arguments);
      probe.executable = std::move(command.executable);
    } else if (kinds[0] == "http") {
      probe.http = target(key, parse_http_target);
    } else if (kinds[0] == "tcp") {
      probe.tcp = target(key, parse_tcp_target);
    } else {
      probe.unix_path = target(key, parse_unix_target);
    }
  }

  // Expanded; that of the first worker is tried.
  std::string target(const std::string& key, Result<ProbeTarget> (*parse)(std::string_view text)) {
    const auto expanded = environment_.expand(*text(key));
    if (!expanded) {
      fail(key, expanded.error().message);
      return {};
    }
    const auto parsed = parse(unmarked(for_worker(expanded->text, 0, 1)));
    if (!parsed) {
      fail(key, parsed.error().message);
      return {};
    }
    return expanded->text;
  }

  static Place argument_place(const Node& written, std::size_t i) {
    const auto* list = written.as<Array>();
    return list != nullptr ? list->items[i].place : written.place;
  }

  void scaling() {
    const Node* written = pool_.member("workers");
    if (written == nullptr || written->as<Object>() == nullptr) return;
    if (node("workers.max") == nullptr) {
      return fail(written->place, "workers",
                  "as an object it needs \"max\", the most workers, like {\"min\": 1, \"max\": 8}");
    }
    if (node("workers.min") == nullptr) spec_.scaling.min = spec_.workers = 1;
  }

  std::string executable(std::string_view key, Place place, const std::string& program) {
    if (has_markers(program)) {
      fail(place, key,
           "the program must be the same for all workers; use ${MTD_WORKER_ID} in its arguments");
      return {};
    }
    const auto path = environment_.expand("${PATH:-" + std::string(kDefaultPath) + "}");
    const std::string directory = has_markers(spec_.directory) ? "" : spec_.directory;
    const auto found = find_executable(program, path ? path->text : kDefaultPath, directory);
    if (!found) {
      fail(place, key, found.error().message);
      return {};
    }
    return *found;
  }

  void log() {
    const bool direct = spec_.log.to == LogTarget::direct;
    if (node("log.path") != nullptr && !direct) {
      return fail("log.path", "is only for \"to\": \"direct\"");
    }
    if (direct && node("log.path") == nullptr) {
      return fail("log.to", "\"direct\" needs \"path\", an absolute path");
    }
    if (direct) spec_.log.path = path_of("log.path");
  }

  void limits() {
    const Node* rlimits = node("rlimits");
    if (rlimits == nullptr) return;
    for (const Node& member : rlimits->as<Object>()->members) {
      if (is_ignored_key(member.name)) continue;
      const RlimitName* known = find_rlimit(member.name);
      if (known == nullptr) {
        const std::string_view close = closest_rlimit(member.name);
        fail(member.name_place, "rlimits",
             "unknown limit \"" + escape_for_terminal(member.name.substr(0, 64)) + "\"" +
                 (close.empty() ? "; getrlimit(2) lists them"
                                : ", did you mean \"" + std::string(close) + "\"?"));
        continue;
      }
      auto limit = parse_rlimit(member);
      if (!limit) {
        fail(member.place, "rlimits." + member.name, limit.error().message);
      } else if (const std::uint64_t most = hard_limit(*known); limit->hard > most) {
        fail(member.place, "rlimits." + member.name,
             brief(member) + " is above mtd's own hard limit of " + std::to_string(most));
      } else {
        spec_.rlimits.push_back(std::move(*limit));
      }
    }
    std::sort(spec_.rlimits.begin(), spec_.rlimits.end(),
              [](const Rlimit& a, const Rlimit& b) { return a.name < b.name; });
  }

  void sandbox() {
    SandboxSpec& sandbox = spec_.sandbox;
    if (const Node* paths = node("sandbox.read_only_paths")) {
      for (const std::string& written : texts_of(*paths)) {
        std::string path = path_of("sandbox.read_only_paths", written);
        if (!path.empty()) sandbox.read_only_paths.push_back(std::move(path));
      }
    }
    if (node("sandbox.no_new_privs") == nullptr) sandbox.no_new_privs = !sandbox.seccomp.empty();
    if (node("sandbox.ambient_capabilities") == nullptr)
      sandbox.ambient_capabilities = sandbox.capabilities;
    for (const PrivilegeProblem& problem : privilege_problems(spec_, own_privileges())) {
      problems_.warn(
          place_of(problem.path),
          "pools." + pool_.name + "." + std::string(problem.path) + ": " + problem.message);
    }
  }

  void recycle() {
    const Node* alias = node("recycle.maxtasksperchild");
    if (alias == nullptr) return;
    if (node("recycle.max_tasks") != nullptr) {
      return fail("recycle.maxtasksperchild", "is another name of \"max_tasks\"; give one of them");
    }
    spec_.recycle.max_tasks = static_cast<std::uint64_t>(*alias->as<std::int64_t>());
    if (node("recycle.jitter") == nullptr) spec_.recycle.jitter = 0;
  }

  void stop() {
    if (node("stop.steps") == nullptr) return;
    for (const std::string_view other : {"stop.signal", "stop.timeout"}) {
      if (node(other) != nullptr) fail(other, "is part of \"steps\" already; give either of them");
    }
  }

  void reload() {
    if (node("reload.signal") != nullptr && spec_.reload.mode != ReloadMode::signal)
      fail("reload.signal", "is only for \"mode\": \"signal\"");
  }

  void listen() {
    const Node* written = node("listen");
    if (written == nullptr) return;
    const std::vector<std::string> texts = texts_of(*written);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Place place = argument_place(*written, i);
      const std::string shown = "\"" + escape_for_terminal(texts[i].substr(0, 128)) + "\"";
      const auto expanded = environment_.expand(texts[i]);
      if (!expanded) {
        fail(place, "listen", shown + ": " + expanded.error().message);
      } else if (has_markers(expanded->text)) {
        fail(place, "listen",
             shown +
                 ": must be the same for all workers; reuse_port=yes gives each a socket of "
                 "its own");
      } else if (auto socket = parse_listen(expanded->text, names()); !socket) {
        fail(place, "listen", shown + ": " + socket.error().message);
      } else {
        spec_.listen.push_back(with_defaults(std::move(*socket)));
      }
    }
  }

  static ListenNames names() {
    ListenNames names;
    names.host = resolve_host;
    names.group = [](const std::string& name) { return resolve_group(name); };
    names.user = [](const std::string& name) -> Result<std::uint32_t> {
      auto resolved = resolve_identity({name, std::nullopt, std::nullopt});
      if (const auto* error = std::get_if<IdentityError>(&resolved)) return Error{error->message};
      return std::get<Identity>(resolved).uid;
    };
    return names;
  }

  // A socket is named after its pool, and its file belongs to who runs the workers.
  [[nodiscard]] ListenSpec with_defaults(ListenSpec socket) const {
    const bool of_manager = socket.kind == ListenKind::systemd;
    if (socket.name.empty()) socket.name = of_manager ? socket.address : pool_.name;
    if (socket.kind == ListenKind::unix_stream && spec_.identity) {
      if (!socket.uid) socket.uid = spec_.identity->uid;
      if (!socket.gid) socket.gid = spec_.identity->gid;
    }
    return socket;
  }

  // An object without a mode is one of workers that speak the protocol, and say when they are
  // ready.
  void tasks() {
    TasksSpec& tasks = spec_.tasks;
    const bool any = pool_.member("tasks") != nullptr;
    if (any && tasks.mode == TaskMode::none) tasks.mode = TaskMode::task;
    if (!tasks.has_queue()) return;
    if (node("ready") == nullptr) spec_.ready = ReadyMode::notify;
  }

  void overlap() {
    const Node* given = node("overlap");
    const bool single = spec_.scaling.max == 0 && spec_.workers == 1 && spec_.listen.empty() &&
                        !spec_.tasks.has_queue();
    spec_.overlap = given != nullptr ? *given->as<bool>() : !uses_slot_ && !single;
  }

  const Node& pool_;
  const ResolveOptions& options_;
  Problems& problems_;
  std::vector<std::string>& files_;
  Environment environment_;
  PoolSpec spec_;
  Given given_;
  Identity who_;
  bool uses_slot_ = false;  // do command, env or cwd differ from worker to worker
};

}  // namespace

PoolSpec resolve_pool(const Node& pool, const ResolveOptions& options, Problems& problems,
                      std::vector<std::string>& files) {
  return PoolResolver(pool, options, problems, files).run();
}

bool is_temporary(std::string_view path) {
  return path.starts_with("/tmp/") || path.starts_with("/var/tmp/");
}

std::vector<CrossError> cross_check(const PoolSpec& spec) {
  std::vector<CrossError> errors;
  const auto text = [](Duration duration) { return format_duration(duration); };
  if (spec.backoff.max < spec.backoff.initial) {
    errors.push_back({"backoff.max", "is " + text(spec.backoff.max) +
                                         ", less than backoff.initial (" +
                                         text(spec.backoff.initial) + ")"});
  }
  if (spec.overlap && spec.reload.max_surge == 0 && spec.reload.max_unavailable == 0) {
    errors.push_back({"reload.max_surge",
                      "is 0, and so is reload.max_unavailable: no worker could be replaced"});
  }
  if (spec.listen.size() > kMaxListen) {
    errors.push_back({"listen", "has " + std::to_string(spec.listen.size()) +
                                    " sockets; a pool has at most " + std::to_string(kMaxListen)});
  }
  if (spec.ready == ReadyMode::probe && !spec.probes.ready.is_set())
    errors.push_back({"ready", "is \"probe\", and there is no probes.ready"});
  const ScalingSpec& scaling = spec.scaling;
  if (scaling.max != 0) {
    const std::string max = "workers.max (" + std::to_string(scaling.max) + ")";
    if (scaling.min > scaling.max) {
      errors.push_back({"workers.min", "is " + std::to_string(scaling.min) + ", more than " + max});
    }
    if (scaling.spare > scaling.max) {
      errors.push_back(
          {"workers.spare", "is " + std::to_string(scaling.spare) + ", more than " + max});
    }
    if (scaling.min == 0 && spec.listen.empty() && !spec.tasks.has_queue()) {
      errors.push_back(
          {"workers.min",
           "is 0, but the pool neither listens nor has a queue of tasks: nothing would "
           "ever start a worker"});
    }
  }
  std::set<std::string> addresses;
  for (const ListenSpec& socket : spec.listen) {
    if (scaling.max != 0 && socket.reuse_port) {
      errors.push_back({"listen",
                        "reuse_port is for a fixed number of workers: connections at the socket of "
                        "a worker that is not needed any more would be lost"});
    }
    const std::string address = listen_address(socket);
    if (!addresses.insert(address).second)
      errors.push_back({"listen", "names " + escape_for_terminal(address) + " twice"});
  }
  const TasksSpec& tasks = spec.tasks;
  if (tasks.has_queue() && spec.ready != ReadyMode::notify) {
    errors.push_back({"ready",
                      "must be \"notify\" in a pool with tasks: a worker is ready when it "
                      "says so on its task socket"});
  }
  if (tasks.retry_max < tasks.retry_delay) {
    errors.push_back({"tasks.retry_max", "is " + text(tasks.retry_max) +
                                             ", less than tasks.retry_delay (" +
                                             text(tasks.retry_delay) + ")"});
  }
  const SandboxSpec& sandbox = spec.sandbox;
  if (!sandbox.seccomp.empty() && !sandbox.no_new_privs) {
    errors.push_back({"sandbox.no_new_privs",
                      "must be true with sandbox.seccomp: a setuid program "
                      "could be misled by refused system calls"});
  }
  if (sandbox.capabilities && sandbox.ambient_capabilities) {
    const auto beyond = capability_names(*sandbox.ambient_capabilities & ~*sandbox.capabilities);
    if (!beyond.empty()) {
      errors.push_back({"sandbox.ambient_capabilities",
                        "\"" + beyond.front() + "\" is not in sandbox.capabilities"});
    }
  }
  const CgroupSpec& cgroup = spec.cgroup;
  if (cgroup.memory_max != 0 && cgroup.memory_high > cgroup.memory_max) {
    errors.push_back({"cgroup.memory_high", "is " + format_size({cgroup.memory_high}) +
                                                ", more than cgroup.memory_max (" +
                                                format_size({cgroup.memory_max}) + ")"});
  }
  if (sandbox.private_tmp) {
    for (const auto& [path, what] :
         {std::pair<std::string_view, const std::string*>{"command", &spec.executable},
          std::pair<std::string_view, const std::string*>{"cwd", &spec.directory},
          std::pair<std::string_view, const std::string*>{"log.path", &spec.log.path}}) {
      if (!is_temporary(*what)) continue;
      errors.push_back({path, "\"" + escape_for_terminal(readable(*what)) +
                                  "\" is hidden from the worker by sandbox.private_tmp"});
    }
  }
  return errors;
}

}  // namespace mtd::config
