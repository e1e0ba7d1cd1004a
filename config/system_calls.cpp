#include "config/system_calls.h"

#ifdef MTD_HAS_SECCOMP
#include <seccomp.h>
#endif

#include <algorithm>
#include <array>
#include <cstdlib>

#include "common/escape.h"
#include "common/names.h"

namespace mtd::config {
namespace {

struct Group {
  std::string_view name;
  std::string_view calls;  // separated by blanks
};

// A worker that needs one of these is a rare one, and what they do reaches beyond it.
constexpr std::array<Group, 7> kGroups{
    {{"@clock",
      "adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime"},
     {"@debug",
      "kcmp lookup_dcookie perf_event_open pidfd_getfd process_madvise process_vm_readv "
      "process_vm_writev ptrace"},
     {"@kernel",
      "acct bpf create_module fanotify_init ioperm iopl kexec_file_load kexec_load nfsservctl "
      "open_by_handle_at quotactl quotactl_fd reboot swapoff swapon sysfs syslog userfaultfd "
      "vhangup vm86 vm86old"},
     {"@keyring", "add_key keyctl request_key"},
     {"@module", "delete_module finit_module init_module"},
     {"@mount",
      "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root "
      "umount umount2"},
     {"@namespaces", "clone:namespaces clone3 setns unshare"}}};
constexpr std::string_view kAll = "@default";

std::string quoted(std::string_view name) {
  return "\"" + escape_for_terminal(name.substr(0, 64)) + "\"";
}

const Group* find_group(std::string_view name) {
  for (const Group& group : kGroups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

Error unknown_group(std::string_view name) {
  std::string message =
      quoted(name) + " is no group of system calls; there are " + std::string(kAll);
  for (const Group& group : kGroups)
    message += ", " + std::string(group.name);
  return {message};
}

#ifdef MTD_HAS_SECCOMP
bool is_system_call(const std::string& name) {
  return seccomp_syscall_resolve_name(name.c_str()) != __NR_SCMP_ERROR;
}

std::string closest_call(std::string_view name) {
  constexpr int kHighest = 1024;
  std::vector<std::string> names;
  for (int number = 0; number < kHighest; ++number) {
    char* const found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (found == nullptr) continue;
    names.emplace_back(found);
    std::free(found);  // NOLINT: libseccomp says so
  }
  return std::string(closest_name(name, names));
}
#endif

}  // namespace

Result<void> check_system_call(std::string_view name) {
  const bool group = name.starts_with("@");
  if (group && name != kAll && find_group(name) == nullptr) return unknown_group(name);
  if (name == "execve") return Error{"\"execve\" cannot be refused: it is what starts the worker"};
#ifdef MTD_HAS_SECCOMP
  if (group || is_system_call(std::string(name))) return {};
  const std::string close = closest_call(name);
  return Error{quoted(name) + " is no system call" +
               (close.empty() ? "; syscalls(2) lists them" : ", did you mean \"" + close + "\"?")};
#else
  return Error{"this mtd was built without libseccomp, and cannot refuse " + quoted(name)};
#endif
}

std::vector<std::string> expand_system_calls(const std::vector<std::string>& names) {
  std::vector<std::string> calls;
  const auto add = [&](const std::string& call) {
    if (std::find(calls.begin(), calls.end(), call) == calls.end()) calls.push_back(call);
  };
  for (const std::string& name : names) {
    if (!name.starts_with("@")) add(name);
    for (const Group& group : kGroups) {
      if (name != kAll && name != group.name) continue;
      for (const std::string& call : split_names(group.calls))
        add(call);
    }
  }
  return calls;
}

std::vector<std::string> split_names(std::string_view words) {
  std::vector<std::string> names;
  while (!words.empty()) {
    const std::size_t blank = words.find(' ');
    if (blank != 0) names.emplace_back(words.substr(0, blank));
    words = blank == std::string_view::npos ? std::string_view() : words.substr(blank + 1);
  }
  return names;
}

}  // namespace mtd::config
