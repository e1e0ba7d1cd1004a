// What the keeper is given once for all processes of one configuration of a pool.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "config/pool_spec.h"
#include "daemon/supervisor/sockets.h"
#include "daemon/sys/spawn_spec.h"

namespace mtd::supervisor {

struct RevisionFacts {
  std::uint64_t instance = 0;  // the keeper's
  std::string notify_path;     // NOTIFY_SOCKET of workers
  std::string adapter;  // mtd-worker, in front of programs that know no tasks; empty: not found
};

struct PreparedRevision {
  std::uint64_t id = 0;  // by content: the same configuration has the same id for ever
  UniqueFd spec;         // sealed memory file
  std::uint32_t spec_bytes = 0;
  std::vector<int> descriptors;  // valid while this object lives, and the sockets
  std::uint32_t own = 0;         // descriptors that come with each spawn
  UniqueFd journal;              // log.to = journal
  UniqueFd ready;                // ready = fd
  std::string warning;           // not empty: log.to = journal was not possible
};

// 1 and 2 of this process are the worker's output with log.to = inherit.
[[nodiscard]] Result<PreparedRevision> prepare_revision(const config::PoolSpec& pool,
                                                        const RevisionFacts& facts,
                                                        const WorkerSockets& sockets);
// User, limits, sandbox, environment and directory of its workers, without what they are told
// (NOTIFY_SOCKET, MTD_TAG), sockets, output and command.
[[nodiscard]] Result<sys::SpawnSpec> surroundings_of(const config::PoolSpec& pool);
// "0123456789abcdef/": the beginning of the MTD_TAG of every process of a life of mtd.
[[nodiscard]] std::string instance_prefix(std::uint64_t instance);
// "0123456789abcdef/web/": the beginning of the MTD_TAG of every process of a pool.
[[nodiscard]] std::string tag_prefix(std::uint64_t instance, const std::string& pool);
[[nodiscard]] std::string tag_of(std::uint64_t instance, const std::string& pool,
                                 std::uint32_t slot, std::uint64_t incarnation);

}  // namespace mtd::supervisor
