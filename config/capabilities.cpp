#include "config/capabilities.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "common/escape.h"
#include "common/names.h"

namespace mtd::config {
namespace {

// The order is the kernel's numbering.
constexpr std::array<std::string_view, 41> kNames{"chown",
                                                  "dac_override",
                                                  "dac_read_search",
                                                  "fowner",
                                                  "fsetid",
                                                  "kill",
                                                  "setgid",
                                                  "setuid",
                                                  "setpcap",
                                                  "linux_immutable",
                                                  "net_bind_service",
                                                  "net_broadcast",
                                                  "net_admin",
                                                  "net_raw",
                                                  "ipc_lock",
                                                  "ipc_owner",
                                                  "sys_module",
                                                  "sys_rawio",
                                                  "sys_chroot",
                                                  "sys_ptrace",
                                                  "sys_pacct",
                                                  "sys_admin",
                                                  "sys_boot",
                                                  "sys_nice",
                                                  "sys_resource",
                                                  "sys_time",
                                                  "sys_tty_config",
                                                  "mknod",
                                                  "lease",
                                                  "audit_write",
                                                  "audit_control",
                                                  "setfcap",
                                                  "mac_override",
                                                  "mac_admin",
                                                  "syslog",
                                                  "wake_alarm",
                                                  "block_suspend",
                                                  "audit_read",
                                                  "perfmon",
                                                  "bpf",
                                                  "checkpoint_restore"};

}  // namespace

Result<int> parse_capability(std::string_view name) {
  std::string plain(name.substr(0, 64));
  for (char& c : plain)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (plain.starts_with("cap_")) plain.erase(0, 4);
  const auto found = std::find(kNames.begin(), kNames.end(), plain);
  if (found != kNames.end()) return static_cast<int>(found - kNames.begin());
  const std::string_view close = closest_name(plain, kNames);
  return Error{"\"" + escape_for_terminal(name.substr(0, 64)) + "\" is no capability" +
               (close.empty() ? "; capabilities(7) lists them"
                              : ", did you mean \"" + std::string(close) + "\"?")};
}

std::vector<std::string> capability_names(std::uint64_t set) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if ((set >> i & 1U) != 0) names.emplace_back(kNames[i]);
  }
  return names;
}

}  // namespace mtd::config
