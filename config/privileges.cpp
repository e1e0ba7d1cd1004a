#include "config/privileges.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>

#include "config/capabilities.h"
#include "config/scheduling.h"

namespace mtd::config {
namespace {

bool has(const Privileges& privileges, std::string_view capability) {
  const auto number = parse_capability(capability);
  return number && (privileges.capabilities >> *number & 1U) != 0;
}

std::string needs(std::string_view capability) {
  std::string name(capability);
  for (char& c : name)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "needs CAP_" + name + ", which this user has not; no worker will start";
}

}  // namespace

Privileges own_privileges() {
  Privileges privileges{~std::uint64_t{0}, {}};
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    if (line.starts_with("CapEff:"))
      std::from_chars(line.data() + tab + 1, line.data() + line.size(), privileges.capabilities,
                      16);
    if (line.starts_with("Cpus_allowed_list:")) {
      privileges.cpus =
          parse_cpu_list(std::string_view(line).substr(tab + 1)).value_or(std::vector<int>());
    }
  }
  return privileges;
}

std::vector<PrivilegeProblem> privilege_problems(const PoolSpec& spec,
                                                 const Privileges& privileges) {
  std::vector<PrivilegeProblem> problems;
  const auto require = [&](bool wanted, std::string_view path, std::string_view capability) {
    if (wanted && !has(privileges, capability)) problems.push_back({path, needs(capability)});
  };
  require(spec.nice.value_or(0) < 0, "nice", "sys_nice");
  const bool realtime = spec.ionice && *spec.ionice >> kIoClassShift == kIoRealtime;
  require(realtime && !has(privileges, "sys_admin"), "ionice", "sys_nice");
  const SandboxSpec& sandbox = spec.sandbox;
  require(sandbox.capabilities.has_value(), "sandbox.capabilities", "setpcap");
  require(sandbox.private_tmp, "sandbox.private_tmp", "sys_admin");
  require(!sandbox.read_only_paths.empty(), "sandbox.read_only_paths", "sys_admin");
  for (const std::string& name : capability_names(sandbox.ambient_capabilities.value_or(0))) {
    const std::string_view key = sandbox.ambient_capabilities == sandbox.capabilities
                                     ? "sandbox.capabilities"
                                     : "sandbox.ambient_capabilities";
    require(true, key, name);
  }
  std::vector<int> missing;
  if (!privileges.cpus.empty()) {
    std::set_difference(spec.cpu_affinity.cpus.begin(), spec.cpu_affinity.cpus.end(),
                        privileges.cpus.begin(), privileges.cpus.end(),
                        std::back_inserter(missing));
  }
  if (!missing.empty()) {
    const bool none = missing.size() == spec.cpu_affinity.cpus.size();
    problems.push_back(
        {"cpu_affinity", cpu_affinity_text({missing, false}) + " cannot be used, mtd may run on " +
                             cpu_affinity_text({privileges.cpus, false}) +
                             (none ? "; no worker will start" : "; the others will be")});
  }
  return problems;
}

}  // namespace mtd::config
