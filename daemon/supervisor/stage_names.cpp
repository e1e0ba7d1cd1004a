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

std::string advice(int stage, int error) {
  const auto at = static_cast<keeper::Stage>(stage);
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
    return "the limit of processes is reached (pids.max, RLIMIT_NPROC)";
  if (error == EMFILE || error == ENFILE) return "descriptors are short (LimitNOFILE=)";
  if (error == ENOMEM) return "memory is short";
  if (error == ETIMEDOUT) return "the set-up did not end within start_timeout";
  if (at == keeper::Stage::user || at == keeper::Stage::group || at == keeper::Stage::groups) {
    return "only root can change users";
  }
  return {};
}

}  // namespace mtd::supervisor
