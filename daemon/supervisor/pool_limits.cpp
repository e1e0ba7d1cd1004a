#include "daemon/supervisor/pool_limits.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace mtd::supervisor {
namespace {

constexpr std::uint32_t kPeriodUs = 100'000;  // of cpu.max, the kernel's own

std::string cpu_max(std::uint32_t percent) {
  if (percent == 0) return "max";
  return std::to_string(std::uint64_t{percent} * (kPeriodUs / 100)) + " " +
         std::to_string(kPeriodUs);
}

std::string bytes_or_max(std::uint64_t value) {
  return value == 0 ? "max" : std::to_string(value);
}

std::string weight(std::uint32_t value) {
  return "default " + std::to_string(value == 0 ? 100 : value);
}

}  // namespace

std::vector<sys::CgroupSetting> cgroup_settings(const config::CgroupSpec& wanted,
                                                const config::CgroupSpec& before) {
  std::vector<sys::CgroupSetting> settings;
  const auto add = [&](bool set, const char* key, const char* file, std::string value) {
    if (!set) return;
    const std::string name = file;
    settings.push_back({key, name.substr(0, name.find('.')), name, std::move(value)});
  };
  const auto either = [](auto a, auto b) { return a != 0 || b != 0; };
  // A lower memory_high first: the worker is slowed down before it may be killed.
  add(either(wanted.memory_high, before.memory_high), "cgroup.memory_high", "memory.high",
      bytes_or_max(wanted.memory_high));
  add(either(wanted.memory_max, before.memory_max), "cgroup.memory_max", "memory.max",
      bytes_or_max(wanted.memory_max));
  add(either(wanted.cpu_max, before.cpu_max), "cgroup.cpu_max", "cpu.max", cpu_max(wanted.cpu_max));
  add(either(wanted.cpu_weight, before.cpu_weight), "cgroup.cpu_weight", "cpu.weight",
      std::to_string(wanted.cpu_weight == 0 ? 100 : wanted.cpu_weight));
  add(either(wanted.io_weight, before.io_weight), "cgroup.io_weight", "io.weight",
      weight(wanted.io_weight));
  add(either(wanted.pids_max, before.pids_max), "cgroup.pids_max", "pids.max",
      bytes_or_max(wanted.pids_max));
  return settings;
}

void PoolLimits::prepare(const config::PoolSpec& spec, std::optional<sys::CgroupTree>& cgroups,
                         const std::string& no_cgroups) {
  pool_ = spec.name;
  before_ = wanted_;
  wanted_ = spec.cgroup;
  lacking_.clear();
  refused_.clear();
  for (const auto& setting : cgroup_settings(wanted_)) {
    const auto enabled = cgroups ? cgroups->enable(spec.name, setting.controller)
                                 : Result<void>(Error{no_cgroups, ENODEV});
    if (!enabled) lacking_.emplace(setting.key, enabled.error());
  }
}

int PoolLimits::write(const sys::CgroupName& name, sys::CgroupTree& cgroups,
                      const std::vector<sys::CgroupSetting>& settings) {
  std::vector<sys::CgroupSetting> possible;
  std::copy_if(settings.begin(), settings.end(), std::back_inserter(possible),
               [this](const auto& setting) { return lacking_.count(setting.key) == 0; });
  refused_.clear();
  for (auto& refusal : cgroups.limit(name, possible))
    refused_.emplace(refusal.key, std::move(refusal.reason));
  if (!lacking_.empty()) return lacking_.begin()->second.errno_value;
  return refused_.empty() ? 0 : refused_.begin()->second.errno_value;
}

int PoolLimits::apply(const sys::CgroupName& name, sys::CgroupTree& cgroups) {
  const int error = write(name, cgroups, cgroup_settings(wanted_));
  return wanted_.required ? error : 0;
}

void PoolLimits::change(const sys::CgroupName& name, sys::CgroupTree& cgroups) {
  (void)write(name, cgroups, cgroup_settings(wanted_, before_));
  // What nobody wants any more may never have been there.
  const auto wanted = cgroup_settings(wanted_);
  for (auto at = refused_.begin(); at != refused_.end();) {
    const bool is_wanted = std::any_of(wanted.begin(), wanted.end(), [&](const auto& setting) {
      return setting.key == at->first;
    });
    at = is_wanted ? std::next(at) : refused_.erase(at);
  }
}

int PoolLimits::refuse_without_cgroups() const {
  return wanted_.required && !lacking_.empty() ? ENODEV : 0;
}

std::vector<std::string> PoolLimits::warnings() const {
  std::vector<std::string> warnings;
  for (const auto* problems : {&lacking_, &refused_}) {
    for (const auto& [key, reason] : *problems) {
      warnings.push_back("pool " + pool_ + ": " + key +
                         (wanted_.required ? " cannot be set, and no worker is started without it: "
                                           : " has no effect: ") +
                         reason.message);
    }
  }
  return warnings;
}

}  // namespace mtd::supervisor
