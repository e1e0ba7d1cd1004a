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

  std::string out;
  append(out, header);
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
  if (out.size() > keeper::kMaxSpecBytes) {
    return Error{"command, environment and the rest take " + std::to_string(out.size()) +
                     " bytes together; at most " + std::to_string(keeper::kMaxSpecBytes) +
                     " are possible",
                 E2BIG};
  }
  header.size = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &header, sizeof header);
  if (!SpecView(out.data(), out.size()).valid(std::min(passed, keeper::kMaxDescriptors))) {
    return Error{"a descriptor is named twice or out of range", EINVAL};
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
