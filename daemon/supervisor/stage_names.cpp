#include "daemon/supervisor/stage_names.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

std::string_view stage_name(int stage) {
  switch (static_cast<keeper::Stage>(stage)) {
    case keeper::Stage::none:
      return "none";
    case keeper::Stage::descriptors:
      return "descriptors";
    case keeper::Stage::clone:
      return "clone";
    case keeper::Stage::cgroup:
      return "cgroup";
    case keeper::Stage::session:
      return "session";
    case keeper::Stage::signals:
      return "signals";
    case keeper::Stage::priority:
      return "priority";
    case keeper::Stage::oom_score:
      return "oom_score";
    case keeper::Stage::limits:
      return "limits";
    case keeper::Stage::groups:
      return "groups";
    case keeper::Stage::group:
      return "group";
    case keeper::Stage::user:
      return "user";
    case keeper::Stage::verify:
      return "verify";
    case keeper::Stage::umask:
      return "umask";
    case keeper::Stage::directory:
      return "directory";
    case keeper::Stage::output:
      return "output";
    case keeper::Stage::exec:
      return "exec";
    case keeper::Stage::cpu_affinity:
      return "cpu_affinity";
    case keeper::Stage::io_priority:
      return "io_priority";
    case keeper::Stage::mount_namespace:
      return "mount_namespace";
    case keeper::Stage::read_only_paths:
      return "read_only_paths";
    case keeper::Stage::private_tmp:
      return "private_tmp";
    case keeper::Stage::capabilities:
      return "capabilities";
    case keeper::Stage::no_new_privs:
      return "no_new_privs";
    case keeper::Stage::seccomp:
      return "seccomp";
    case keeper::Stage::cgroup_limits:
      return "cgroup_limits";
  }
  return "unknown";
}

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? std::string(name) : std::to_string(error);
}

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

namespace {

std::string advice_on_sandbox(keeper::Stage at, int error) {
  if (at == keeper::Stage::priority && (error == EPERM || error == EACCES))
    return "nice below mtd's own needs CAP_SYS_NICE";
  if (at == keeper::Stage::oom_score && error == EACCES)
    return "oom_score_adj below mtd's own needs CAP_SYS_RESOURCE";
  if (at == keeper::Stage::limits && error == EPERM)
    return "rlimits above mtd's own hard limits need CAP_SYS_RESOURCE";
  if (at == keeper::Stage::cpu_affinity)
    return "does this machine have the processors of cpu_affinity, and may mtd use them?";
  if (at == keeper::Stage::io_priority) return "ionice \"realtime\" needs CAP_SYS_NICE";
  if (at == keeper::Stage::mount_namespace) {
    return error == ENOSPC ? "the limit of mount namespaces is reached (user.max_mnt_namespaces)"
                           : "sandbox.private_tmp and sandbox.read_only_paths need CAP_SYS_ADMIN";
  }
  if (at == keeper::Stage::read_only_paths) {
    return error == ENOSYS ? "sandbox.read_only_paths needs Linux 5.12"
                           : "do all of sandbox.read_only_paths exist?";
  }
  if (at == keeper::Stage::private_tmp) return "is there a directory /tmp, and tmpfs?";
  if (at == keeper::Stage::capabilities) {
    return "sandbox.capabilities needs CAP_SETPCAP, and mtd can give only capabilities it has";
  }
  if (at == keeper::Stage::seccomp && error == EINVAL)
    return "this kernel has no seccomp filters; leave sandbox.seccomp out";
  if (at == keeper::Stage::cgroup_limits)
    return "cgroup.required is set, and status warns which limit cannot be set";
  return {};
}

}  // namespace

std::string advice(int stage, int error) {
  const auto at = static_cast<keeper::Stage>(stage);
  if (std::string text = advice_on_sandbox(at, error); !text.empty()) return text;
  if (at == keeper::Stage::exec && error == ENOENT)
    return "is the program, or its interpreter, still there?";
  if (at == keeper::Stage::exec && error == EACCES)
    return "is the file executable for the pool's user?";
  if (at == keeper::Stage::exec && error == ENOEXEC) return "a script needs a #! line";
  if (at == keeper::Stage::exec && error == ETXTBSY) return "the program is open for writing";
  if (at == keeper::Stage::directory) return "look at cwd";
  if (at == keeper::Stage::output) return "look at log.path and its permissions";
  if (at == keeper::Stage::clone && error == ENOENT)
    return "mtd was short of descriptors or memory; the command is handed over again";
  if (at == keeper::Stage::clone && error == EAGAIN)
    return "the limit of processes is reached (TasksMax= of the unit, pids.max of a cgroup above, "
           "RLIMIT_NPROC)";
  if (error == EMFILE || error == ENFILE) return "descriptors are short (LimitNOFILE=)";
  if (error == ENOMEM) return "memory is short";
  if (error == ETIMEDOUT) return "the set-up did not end within start_timeout";
  if (at == keeper::Stage::user || at == keeper::Stage::group || at == keeper::Stage::groups) {
    return "only root can change users";
  }
  return {};
}

}  // namespace mtd::supervisor
