// SpawnSpec: all that is the same for every process of one revision of a pool, and its flat form.
//
// encode() writes a sealed memfd that the keeper maps read-only; nothing in it is a pointer. In
// command, env values, cwd and output path slot, incarnation and pid are not known yet; they
// stand as markers (common/spec_marker.h), which the child replaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/spawn_spec_format.h"

namespace mtd::sys {

struct ResourceLimit {
  int resource = 0;  // RLIMIT_*, getrlimit(2)
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

// What a worker may use and do beyond its limits and credentials.
struct Sandbox {
  std::vector<int> cpus;                      // below kMaxSpecCpus; empty: as the keeper
  bool cpu_per_worker = false;                // one of the keeper's own for each slot, in turn
  std::optional<int> io_priority;             // as ioprio_set(2) takes it
  std::optional<std::uint64_t> capabilities;  // bounding set; bit n: capability n
  std::optional<std::uint64_t> ambient;       // kept and raised over the change of users
  bool no_new_privs = false;
  std::vector<SpecInstruction> filter;  // seccomp; needs no_new_privs
  bool private_tmp = false;
  std::vector<std::string> read_only_paths;  // with markers
};

struct SpawnSpec {
  std::string executable;                // absolute path, resolved at load
  std::vector<std::string> command;      // argv, at least one, with markers
  std::vector<std::string> environment;  // NAME=VALUE, with markers
  std::string directory = "/";           // with markers
  std::optional<std::uint32_t> uid;      // with gid: credentials are changed and verified
  std::optional<std::uint32_t> gid;
  std::vector<std::uint32_t> groups;  // supplementary; applied when uid or gid is set
  std::uint32_t umask = 022;
  std::vector<ResourceLimit> limits;
  std::optional<int> nice;           // -20..19
  std::optional<int> oom_score_adj;  // -1000..1000
  Sandbox sandbox;
  // The child's descriptors: child number → index into the descriptors passed along, those of the
  // revision first, then those that come with each spawn. 0, 1, 2 that are not named are /dev/null;
  // every other descriptor is closed.
  std::vector<std::pair<int, std::uint32_t>> descriptors;
  // log.to = direct: opened O_APPEND|O_CREAT|O_NOFOLLOW, 0640, after the user was dropped, as 1
  // and 2.
  std::string output_path;
};

// A sealed memfd of at most keeper::kMaxSpecBytes. Errors: over that, NUL inside a string, no
// command.
[[nodiscard]] Result<UniqueFd> encode(const SpawnSpec& spec);

}  // namespace mtd::sys
