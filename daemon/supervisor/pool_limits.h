// PoolLimits: what the configuration asks of the cgroups of a pool's workers, and what of it cannot
// be had here. A limit that is missing is told in status, never left out silently.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/pool_spec.h"
#include "daemon/sys/cgroup.h"

namespace mtd::supervisor {

// All limits that are set, and with `before` also those that were and have to be taken back.
[[nodiscard]] std::vector<sys::CgroupSetting> cgroup_settings(
    const config::CgroupSpec& wanted, const config::CgroupSpec& before = {});

class PoolLimits {
 public:
  // Of a configuration that comes into force: asks for the controllers. `no_cgroups`: why there are
  // none, where there are none.
  void prepare(const config::PoolSpec& spec, std::optional<sys::CgroupTree>& cgroups,
               const std::string& no_cgroups);
  // For a process to be: 0, or the errno that keeps it from being started (cgroup.required).
  [[nodiscard]] int apply(const sys::CgroupName& name, sys::CgroupTree& cgroups);
  // For one that runs: the limits of the configuration before are taken back.
  void change(const sys::CgroupName& name, sys::CgroupTree& cgroups);
  // Without cgroups: as apply().
  [[nodiscard]] int refuse_without_cgroups() const;

  // Sentences, "pool web: cgroup.memory_max has no effect: …".
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  int write(const sys::CgroupName& name, sys::CgroupTree& cgroups,
            const std::vector<sys::CgroupSetting>& settings);

  std::string pool_;
  config::CgroupSpec wanted_, before_;
  std::map<std::string, Error> lacking_;  // by key: the controller is not there
  std::map<std::string, Error> refused_;  // by key: the last writing failed
};

}  // namespace mtd::supervisor
