#include "config/keys_limits.h"

#include <nlohmann/json.hpp>

#include "config/binding.h"
#include "config/capabilities.h"
#include "config/resolved_json.h"
#include "config/scheduling.h"
#include "config/system_calls.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;
using S = PoolSpec;

constexpr double kMostBytes = 1e18;

template <auto... Members>
PoolKey row(KeyInfo info) {
  constexpr Binding<S> kBinding = bind<S, Members...>();
  return {std::move(info), kBinding.set, kBinding.get};
}

template <auto Member>
PoolKey size_row(std::string_view path, std::string_view doc) {
  return row<&S::cgroup, Member>(
      {path, Type::size, 1, kMostBytes, {}, "no limit", Apply::hot, doc});
}

template <auto Member>
PoolKey number_row(std::string_view path, double max, std::string_view fallback,
                   std::string_view doc) {
  return row<&S::cgroup, Member>({path, Type::integer, 1, max, {}, fallback, Apply::hot, doc});
}

template <auto Member>
PoolKey capability_row(std::string_view path, std::string_view fallback, std::string_view doc) {
  return {{path, Type::capabilities, 0, 0, {}, fallback, Apply::rolling, doc},
          [](S& spec, const Scalar& value, const KeyInfo&) {
            spec.sandbox.*Member = static_cast<std::uint64_t>(std::get<std::int64_t>(value));
          },
          [](const S& spec, const KeyInfo&) {
            const auto& set = spec.sandbox.*Member;
            return set ? Json(capability_names(*set)) : Json();
          }};
}

Json json_ionice(const S& spec, const KeyInfo&) {
  return spec.ionice ? Json(io_priority_text(*spec.ionice)) : Json();
}

Json json_affinity(const S& spec, const KeyInfo&) {
  const std::string text = cpu_affinity_text(spec.cpu_affinity);
  return text.empty() ? Json() : Json(text);
}

Json json_cpu_max(const S& spec, const KeyInfo&) {
  return spec.cgroup.cpu_max == 0 ? Json() : Json(std::to_string(spec.cgroup.cpu_max) + "%");
}

Json json_seccomp(const S& spec, const KeyInfo&) {
  return spec.sandbox.seccomp.empty() ? Json() : Json(spec.sandbox.seccomp);
}

// False is not told apart from not set: so a worker of a version without the key has the same
// fingerprint.
template <auto Member>
PoolKey flag_row(std::string_view path, std::string_view fallback, std::string_view doc) {
  return {{path, Type::boolean, 0, 0, {}, fallback, Apply::rolling, doc},
          [](S& spec, const Scalar& value, const KeyInfo&) {
            spec.sandbox.*Member = std::get<bool>(value);
          },
          [](const S& spec, const KeyInfo&) { return spec.sandbox.*Member ? Json(true) : Json(); }};
}

std::vector<PoolKey> scheduling_keys() {
  return {
      {{"ionice",
        Type::io_priority,
        0,
        0,
        {},
        "mtd's own",
        Apply::rolling,
        "Priority of reading and writing disks; without a level it is 4. \"realtime\" needs "
        "CAP_SYS_NICE."},
       [](S& spec, const Scalar& value, const KeyInfo&) {
         spec.ionice = static_cast<int>(std::get<std::int64_t>(value));
       },
       json_ionice},
      {{"cpu_affinity",
        Type::cpus,
        0,
        kMaxCpu,
        {},
        "mtd's own",
        Apply::rolling,
        "The processors the workers may run on. \"per-worker\" gives each slot one of those mtd "
        "may use, in turn."},
       [](S& spec, const Scalar& value, const KeyInfo&) {
         const auto& cpus = std::get<std::vector<int>>(value);
         spec.cpu_affinity.per_worker = cpus.empty();
         spec.cpu_affinity.cpus = cpus;
       },
       json_affinity},
  };
}

std::vector<PoolKey> cgroup_keys() {
  return {
      size_row<&CgroupSpec::memory_max>(
          "cgroup.memory_max",
          "The most memory of a worker and all that it starts; beyond it the kernel kills. This "
          "and the following limits need cgroups with their controllers; where one is missing, "
          "status warns."),
      size_row<&CgroupSpec::memory_high>(
          "cgroup.memory_high",
          "From here on memory is reclaimed and the worker slowed down, not killed."),
      {{"cgroup.cpu_max",
        Type::percentage,
        1,
        1'000'000,
        {},
        "no limit",
        Apply::hot,
        "The most processor time: \"150%\" is one processor and a half."},
       [](S& spec, const Scalar& value, const KeyInfo&) {
         spec.cgroup.cpu_max = static_cast<std::uint32_t>(std::get<std::int64_t>(value));
       },
       json_cpu_max},
      number_row<&CgroupSpec::cpu_weight>(
          "cgroup.cpu_weight", 10'000, "the kernel's, 100",
          "Share of the processors when they are short, beside the pool's other workers."),
      number_row<&CgroupSpec::io_weight>(
          "cgroup.io_weight", 10'000, "the kernel's, 100",
          "Share of the disks when they are short, beside the pool's other workers."),
      number_row<&CgroupSpec::pids_max>("cgroup.pids_max", 4'194'304, "no limit",
                                        "The most processes and threads of a worker."),
      row<&S::cgroup, &CgroupSpec::required>(
          {"cgroup.required",
           Type::boolean,
           0,
           0,
           {},
           "false",
           Apply::hot,
           "Start no worker when one of these limits cannot be set, instead of a warning in "
           "status."}),
  };
}

std::vector<PoolKey> sandbox_keys() {
  return {
      flag_row<&SandboxSpec::no_new_privs>(
          "sandbox.no_new_privs", "true with sandbox.seccomp, else false",
          "Nothing the worker executes can gain rights, as by setuid programs."),
      capability_row<&SandboxSpec::capabilities>(
          "sandbox.capabilities", "mtd's own",
          "The only capabilities that the worker and what it executes can have, by their names in "
          "capabilities(7) with or without CAP_. The worker has them whoever its user is, unless "
          "sandbox.ambient_capabilities names fewer. Needs CAP_SETPCAP."),
      capability_row<&SandboxSpec::ambient_capabilities>(
          "sandbox.ambient_capabilities", "those of sandbox.capabilities",
          "The capabilities the worker has though its user is not root."),
      {{"sandbox.seccomp",
        Type::system_calls,
        0,
        0,
        {},
        "none",
        Apply::rolling,
        "System calls that are refused with EPERM, and clone3 with ENOSYS, so that programs use "
        "clone "
        "instead. @clock, @debug, @kernel, @keyring, @module, @mount and @namespaces are groups, "
        "@default is all of them."},
       [](S& spec, const Scalar& value, const KeyInfo&) {
         spec.sandbox.seccomp = split_names(std::get<std::string>(value));
       },
       json_seccomp},
      flag_row<&SandboxSpec::private_tmp>(
          "sandbox.private_tmp", "off",
          "Each worker process gets an empty /tmp and /var/tmp of its own in memory, which end "
          "with it. Needs CAP_SYS_ADMIN."),
      {{"sandbox.read_only_paths",
        Type::paths,
        0,
        0,
        {},
        "none",
        Apply::rolling,
        "Directories and files that the worker cannot change, with all that is mounted below them; "
        "\"/\" is everything but sandbox.private_tmp. Needs CAP_SYS_ADMIN and Linux 5.12."},
       nullptr,
       [](const S& spec, const KeyInfo& info) {
         return spec.sandbox.read_only_paths.empty() ? Json() : json_read_only_paths(spec, info);
       }},
  };
}

}  // namespace

std::vector<PoolKey> limit_keys() {
  std::vector<PoolKey> keys = scheduling_keys();
  for (auto make : {cgroup_keys, sandbox_keys}) {
    for (PoolKey& key : make())
      keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace mtd::config
