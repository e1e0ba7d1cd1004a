#include "daemon/sys/spawn_spec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/spawn_spec_format.h"

namespace mtd::sys {
namespace {

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

Result<void> append_text(std::string& out, const std::string& text, const char* what) {
  if (text.find('\0') != std::string::npos) {
    return Error{std::string(what) + " contains a NUL byte", EINVAL};
  }
  out.append(text.c_str(), text.size() + 1);
  return {};
}

Result<void> append_all(std::string& out, const std::vector<std::string>& texts, const char* what) {
  for (const std::string& text : texts) {
    if (auto done = append_text(out, text, what); !done) return done;
  }
  return {};
}

// Nothing: the spec asks for none of it.
std::optional<SpecSandbox> flatten(const Sandbox& sandbox) {
  SpecSandbox flat;
  for (const int cpu : sandbox.cpus) {
    const auto at = static_cast<std::uint32_t>(cpu);
    if (at < kMaxSpecCpus) flat.cpus[at / 64] |= std::uint64_t{1} << (at % 64);
  }
  if (!sandbox.cpus.empty()) flat.affinity = SpecAffinity::set;
  if (sandbox.cpu_per_worker) flat.affinity = SpecAffinity::per_worker;
  flat.has_io_priority = sandbox.io_priority.has_value() ? 1 : 0;
  flat.io_priority = sandbox.io_priority.value_or(0);
  flat.has_capabilities = sandbox.capabilities.has_value() ? 1 : 0;
  flat.capabilities = sandbox.capabilities.value_or(0);
  flat.has_ambient = sandbox.ambient.has_value() ? 1 : 0;
  flat.ambient = sandbox.ambient.value_or(0);
  flat.no_new_privs = sandbox.no_new_privs ? 1 : 0;
  flat.private_tmp = sandbox.private_tmp ? 1 : 0;
  flat.filter = static_cast<std::uint32_t>(sandbox.filter.size());
  flat.read_only_paths = static_cast<std::uint32_t>(sandbox.read_only_paths.size());
  const bool any = flat.affinity != SpecAffinity::none || flat.has_io_priority != 0 ||
                   flat.has_capabilities != 0 || flat.has_ambient != 0 || flat.no_new_privs != 0 ||
                   flat.private_tmp != 0 || flat.filter != 0 || flat.read_only_paths != 0;
  return any ? std::optional(flat) : std::nullopt;
}

Result<std::string> flatten(const SpawnSpec& spec) {
  if (spec.command.empty()) return Error{"the command is empty", EINVAL};
  if (spec.executable.empty()) return Error{"there is no executable", EINVAL};
  auto descriptors = spec.descriptors;
  std::sort(descriptors.begin(), descriptors.end());
  auto groups = spec.groups;  // sorted as the kernel keeps them, so that the child can compare
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());

  SpecHeader header;
  header.limits = static_cast<std::uint32_t>(spec.limits.size());
  header.groups = static_cast<std::uint32_t>(groups.size());
  header.descriptors = static_cast<std::uint32_t>(descriptors.size());
  header.command = static_cast<std::uint32_t>(spec.command.size());
  header.environment = static_cast<std::uint32_t>(spec.environment.size());
  header.umask = spec.umask;
  header.has_uid = spec.uid.has_value() ? 1 : 0;
  header.uid = spec.uid.value_or(0);
  header.has_gid = spec.gid.has_value() ? 1 : 0;
  header.gid = spec.gid.value_or(0);
  header.has_nice = spec.nice.has_value() ? 1 : 0;
  header.nice = spec.nice.value_or(0);
  header.has_oom_score_adj = spec.oom_score_adj.has_value() ? 1 : 0;
  header.oom_score_adj = spec.oom_score_adj.value_or(0);

  const auto sandbox = flatten(spec.sandbox);
  if (sandbox) header.magic = kSpecSandboxMagic;
  std::string out;
  append(out, header);
  if (sandbox) {
    append(out, *sandbox);
    for (const SpecInstruction& instruction : spec.sandbox.filter)
      append(out, instruction);
  }
  for (const ResourceLimit& limit : spec.limits) {
    append(out, SpecLimit{limit.resource, 0, limit.soft, limit.hard});
  }
  for (const std::uint32_t group : groups)
    append(out, group);
  std::uint32_t passed = 0;
  for (const auto& [child, index] : descriptors) {
    append(out, SpecDescriptor{child, index});
    passed = std::max(passed, index + 1);
  }
  if (auto done = append_text(out, spec.executable, "executable"); !done) return done.error();
  if (auto done = append_text(out, spec.directory, "directory"); !done) return done.error();
  if (auto done = append_text(out, spec.output_path, "output path"); !done) return done.error();
  if (auto done = append_all(out, spec.command, "command"); !done) return done.error();
  if (auto done = append_all(out, spec.environment, "environment"); !done) return done.error();
  if (auto done = append_all(out, spec.sandbox.read_only_paths, "read-only path"); !done)
    return done.error();
  if (out.size() > keeper::kMaxSpecBytes) {
    return Error{"command, environment and the rest take " + std::to_string(out.size()) +
                     " bytes together; at most " + std::to_string(keeper::kMaxSpecBytes) +
                     " are possible",
                 E2BIG};
  }
  header.size = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &header, sizeof header);
  if (!SpecView(out.data(), out.size()).valid(std::min(passed, keeper::kMaxDescriptors))) {
    return Error{"a descriptor is named twice or out of range, or a filter is too long", EINVAL};
  }
  return out;
}

}  // namespace

Result<UniqueFd> encode(const SpawnSpec& spec) {
  auto flat = flatten(spec);
  if (!flat) return flat.error();
  UniqueFd memory(memfd_create("mtd-spawn-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return Error::from_errno("memfd_create", errno);
  std::size_t written = 0;
  while (written < flat->size()) {
    const ssize_t n = ::write(memory.get(), flat->data() + written, flat->size() - written);
    if (n < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno("write a spawn spec", errno);
    }
    written += static_cast<std::size_t>(n);
  }
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0)
    return Error::from_errno("seal a memfd", errno);
  return memory;
}

}  // namespace mtd::sys
