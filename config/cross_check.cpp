#include "config/cross_check.h"

#include <set>
#include <utility>

#include "common/escape.h"
#include "common/size.h"
#include "common/time.h"
#include "config/capabilities.h"
#include "config/expand.h"
#include "config/listen.h"

namespace mtd::config {
namespace {

void check_times_and_readiness(const PoolSpec& spec, std::vector<CrossError>& errors) {
  if (spec.backoff.max < spec.backoff.initial) {
    errors.push_back({"backoff.max", "is " + format_duration(spec.backoff.max) +
                                         ", less than backoff.initial (" +
                                         format_duration(spec.backoff.initial) + ")"});
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
}

void check_scaling(const PoolSpec& spec, std::vector<CrossError>& errors) {
  const ScalingSpec& scaling = spec.scaling;
  if (scaling.max == 0) return;
  const std::string max = "workers.max (" + std::to_string(scaling.max) + ")";
  if (scaling.min > scaling.max) {
    errors.push_back({"workers.min", "is " + std::to_string(scaling.min) + ", more than " + max});
  }
  if (scaling.spare > scaling.max) {
    errors.push_back(
        {"workers.spare", "is " + std::to_string(scaling.spare) + ", more than " + max});
  }
  if (scaling.min == 0 && spec.listen.empty() && !spec.tasks.has_queue()) {
    errors.push_back({"workers.min",
                      "is 0, but the pool neither listens nor has a queue of tasks: nothing would "
                      "ever start a worker"});
  }
}

void check_addresses(const PoolSpec& spec, std::vector<CrossError>& errors) {
  std::set<std::string> addresses;
  for (const ListenSpec& socket : spec.listen) {
    if (spec.scaling.max != 0 && socket.reuse_port) {
      errors.push_back({"listen",
                        "reuse_port is for a fixed number of workers: connections at the socket of "
                        "a worker that is not needed any more would be lost"});
    }
    const std::string address = listen_address(socket);
    if (!addresses.insert(address).second)
      errors.push_back({"listen", "names " + escape_for_terminal(address) + " twice"});
  }
}

void check_tasks(const PoolSpec& spec, std::vector<CrossError>& errors) {
  const TasksSpec& tasks = spec.tasks;
  if (tasks.has_queue() && spec.ready != ReadyMode::notify) {
    errors.push_back({"ready",
                      "must be \"notify\" in a pool with tasks: a worker is ready when it "
                      "says so on its task socket"});
  }
  if (tasks.retry_max < tasks.retry_delay) {
    errors.push_back({"tasks.retry_max", "is " + format_duration(tasks.retry_max) +
                                             ", less than tasks.retry_delay (" +
                                             format_duration(tasks.retry_delay) + ")"});
  }
}

void check_sandbox(const PoolSpec& spec, std::vector<CrossError>& errors) {
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
}

void check_memory(const PoolSpec& spec, std::vector<CrossError>& errors) {
  const CgroupSpec& cgroup = spec.cgroup;
  if (cgroup.memory_max != 0 && cgroup.memory_high > cgroup.memory_max) {
    errors.push_back({"cgroup.memory_high", "is " + format_size({cgroup.memory_high}) +
                                                ", more than cgroup.memory_max (" +
                                                format_size({cgroup.memory_max}) + ")"});
  }
}

void check_temporary_paths(const PoolSpec& spec, std::vector<CrossError>& errors) {
  if (!spec.sandbox.private_tmp) return;
  for (const auto& [path, what] :
       {std::pair<std::string_view, const std::string*>{"command", &spec.executable},
        std::pair<std::string_view, const std::string*>{"cwd", &spec.directory},
        std::pair<std::string_view, const std::string*>{"log.path", &spec.log.path}}) {
    if (!is_temporary(*what)) continue;
    errors.push_back({path, "\"" + escape_for_terminal(readable(*what)) +
                                "\" is hidden from the worker by sandbox.private_tmp"});
  }
}

}  // namespace

bool is_temporary(std::string_view path) {
  return path.starts_with("/tmp/") || path.starts_with("/var/tmp/");
}

std::vector<CrossError> cross_check(const PoolSpec& spec) {
  std::vector<CrossError> errors;
  check_times_and_readiness(spec, errors);
  check_scaling(spec, errors);
  check_addresses(spec, errors);
  check_tasks(spec, errors);
  check_sandbox(spec, errors);
  check_memory(spec, errors);
  check_temporary_paths(spec, errors);
  return errors;
}

}  // namespace mtd::config
