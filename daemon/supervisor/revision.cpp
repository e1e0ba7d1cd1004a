#include "daemon/supervisor/revision.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "common/spec_marker.h"
#include "config/cross_check.h"
#include "config/system_calls.h"
#include "daemon/sys/journal_stream.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/notify_socket.h"
#include "daemon/sys/resource_names.h"
#include "daemon/sys/seccomp_filter.h"
#include "daemon/sys/spawn_spec.h"

namespace mtd::supervisor {
namespace {

constexpr int kFirstSocket = 3;  // as sd_listen_fds(3) has it
// What a command may write as its result; mtd-worker keeps it in memory until the command ends.
constexpr std::uint64_t kMaxOutput = 64ULL << 20U;

std::string marker(char kind) {
  return {SpecMarker::kEscape, kind};
}

std::string escape_markers(const std::string& text) {
  std::string escaped;
  for (const char byte : text) {
    escaped.push_back(byte);
    if (byte == SpecMarker::kEscape) escaped.push_back(SpecMarker::kLiteral);
  }
  return escaped;
}

std::uint64_t content_id(std::string_view pool, std::uint64_t fingerprint, std::string_view spec) {
  std::uint64_t hash = 14695981039346656037ULL ^ fingerprint;
  for (const std::string_view part : {pool, spec}) {
    for (const char byte : part)
      hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  }
  return hash == 0 ? 1 : hash;
}

// log.to = automatic has its meaning here: only now it is known what started mtd.
config::LogTarget log_target(const config::LogSpec& log) {
  if (log.to != config::LogTarget::automatic) return log.to;
  return sys::under_journal() ? config::LogTarget::journal : config::LogTarget::inherit;
}

void share_own_output(sys::SpawnSpec& spec, PreparedRevision& revision) {
  revision.descriptors = {1, 2};
  spec.descriptors = {{1, 0}, {2, 1}};
}

void add_output(const config::PoolSpec& pool, sys::SpawnSpec& spec, PreparedRevision& revision) {
  switch (log_target(pool.log)) {
    case config::LogTarget::automatic:
    case config::LogTarget::null:
      return;
    case config::LogTarget::inherit:
      share_own_output(spec, revision);
      return;
    case config::LogTarget::journal: {
      auto stream = sys::open_journal_stream(pool.name);
      if (!stream) {  // a worker that runs is worth more than where it writes to
        revision.warning = stream.error().message + "; its workers write to mtd's own output";
        share_own_output(spec, revision);
        return;
      }
      revision.journal = std::move(*stream);
      revision.descriptors = {revision.journal.get()};
      spec.descriptors = {{1, 0}, {2, 0}};
      return;
    }
    case config::LogTarget::direct:
      spec.output_path = pool.log.path;
      return;
  }
}

// What sd_watchdog_enabled(3) looks at.
void add_watchdog(const config::PoolSpec& pool, sys::SpawnSpec& spec) {
  if (pool.watchdog.is_zero()) return;
  spec.environment.push_back("WATCHDOG_USEC=" + std::to_string(pool.watchdog.count_ns() / 1000));
  spec.environment.push_back("WATCHDOG_PID=" + marker(SpecMarker::kPid));
}

// From descriptor 3 on, with the environment that sd_listen_fds(3) looks at.
void add_sockets(const WorkerSockets& sockets, sys::SpawnSpec& spec, PreparedRevision& revision) {
  if (sockets.fds.empty()) return;
  std::vector<int> own;
  std::string names;
  for (std::size_t i = 0; i < sockets.fds.size(); ++i) {
    names += (i == 0 ? "" : ":") + sockets.names[i];
    const int child = kFirstSocket + static_cast<int>(i);
    if (sockets.fds[i] < 0) {
      own.push_back(child);
      continue;
    }
    spec.descriptors.emplace_back(child, static_cast<std::uint32_t>(revision.descriptors.size()));
    revision.descriptors.push_back(sockets.fds[i]);
  }
  for (const int child : own) {
    const auto index = static_cast<std::uint32_t>(revision.descriptors.size()) + revision.own++;
    spec.descriptors.emplace_back(child, index);
  }
  spec.environment.push_back("LISTEN_FDS=" + std::to_string(sockets.fds.size()));
  spec.environment.push_back("LISTEN_FDNAMES=" + names);
  spec.environment.push_back("LISTEN_PID=" + marker(SpecMarker::kPid));
}

// ready: fd. All workers share one socket that is connected to NOTIFY_SOCKET: who writes to it is
// told by the kernel, nothing has to be held for a single worker, and it outlives the supervisor.
// The first number after the listening sockets.
Result<void> add_ready_descriptor(const config::PoolSpec& pool, const RevisionFacts& facts,
                                  const WorkerSockets& sockets, sys::SpawnSpec& spec,
                                  PreparedRevision& revision) {
  if (pool.ready != config::ReadyMode::fd) return {};
  auto connected = sys::connect_notify(facts.notify_path);
  if (!connected) return connected.error();
  revision.ready = std::move(*connected);
  const int child = 3 + static_cast<int>(sockets.fds.size());
  const auto index = static_cast<std::uint32_t>(revision.descriptors.size());
  // Those that come with each spawn stand after all of the revision.
  for (auto& [number, at] : spec.descriptors) {
    if (at >= index) ++at;
  }
  spec.descriptors.emplace_back(child, index);
  revision.descriptors.push_back(revision.ready.get());
  spec.environment.push_back("MTD_READY_FD=" + std::to_string(child));
  return {};
}

// A program that knows nothing of tasks gets one in front of it that does (mtd-worker(7)).
Result<void> add_adapter(const config::PoolSpec& pool, const RevisionFacts& facts,
                         sys::SpawnSpec& spec) {
  const config::TasksSpec& tasks = pool.tasks;
  const bool exec = tasks.mode == config::TaskMode::exec;
  if (!exec && tasks.mode != config::TaskMode::filter) return {};
  if (facts.adapter.empty()) {
    return Error{"pool " + pool.name + ": tasks.mode needs the program mtd-worker, which is not " +
                 "beside mtd, nor in " MTD_LIBEXECDIR};
  }
  std::vector<std::string> command{"mtd-worker", exec ? "exec" : "filter"};
  if (exec) {
    command.push_back("--max-result");
    command.push_back(std::to_string(std::max(tasks.max_result, kMaxOutput)));
  }
  command.emplace_back("--");
  command.push_back(spec.executable);
  command.insert(command.end(), spec.command.begin() + 1, spec.command.end());
  spec.executable = facts.adapter;
  spec.command = std::move(command);
  return {};
}

// After the listening sockets; each worker has its own, which comes with its spawn.
void add_task_socket(const config::PoolSpec& pool, const WorkerSockets& sockets,
                     sys::SpawnSpec& spec, PreparedRevision& revision) {
  if (!pool.tasks.has_queue()) return;
  const int child = kFirstSocket + static_cast<int>(sockets.fds.size());
  const auto index = static_cast<std::uint32_t>(revision.descriptors.size()) + revision.own++;
  spec.descriptors.emplace_back(child, index);
  spec.environment.push_back("MTD_TASK_FD=" + std::to_string(child));
  spec.environment.push_back("MTD_TASK_PROTO=1");
}

Result<sys::Sandbox> sandbox_of(const config::PoolSpec& pool) {
  sys::Sandbox sandbox;
  sandbox.cpus = pool.cpu_affinity.cpus;
  sandbox.cpu_per_worker = pool.cpu_affinity.per_worker;
  sandbox.io_priority = pool.ionice;
  sandbox.capabilities = pool.sandbox.capabilities;
  sandbox.ambient = pool.sandbox.ambient_capabilities;
  sandbox.no_new_privs = pool.sandbox.no_new_privs;
  sandbox.private_tmp = pool.sandbox.private_tmp;
  sandbox.read_only_paths = pool.sandbox.read_only_paths;
  if (!pool.sandbox.seccomp.empty()) {
    auto filter = sys::compile_seccomp(config::expand_system_calls(pool.sandbox.seccomp));
    if (!filter) return filter.error();
    sandbox.filter = std::move(*filter);
  }
  return sandbox;
}

}  // namespace

std::string instance_prefix(std::uint64_t instance) {
  std::array<char, 18> text{};
  std::snprintf(text.data(), text.size(), "%016llx/", static_cast<unsigned long long>(instance));
  return text.data();
}

std::string tag_prefix(std::uint64_t instance, const std::string& pool) {
  return instance_prefix(instance) + pool + "/";
}

std::string tag_of(std::uint64_t instance, const std::string& pool, std::uint32_t slot,
                   std::uint64_t incarnation) {
  return tag_prefix(instance, pool) + std::to_string(slot) + "/" + std::to_string(incarnation);
}

Result<sys::SpawnSpec> surroundings_of(const config::PoolSpec& pool) {
  sys::SpawnSpec spec;
  spec.environment = pool.environment;
  spec.directory = pool.directory;
  if (pool.identity) {
    spec.uid = pool.identity->uid;
    spec.gid = pool.identity->gid;
    spec.groups = pool.identity->groups;
  }
  spec.umask = pool.umask;
  for (const auto& limit : pool.rlimits) {
    const auto resource = sys::resource_number(limit.name);
    if (!resource) return Error{"pool " + pool.name + ": unknown resource limit " + limit.name};
    spec.limits.push_back({*resource, limit.soft, limit.hard});
  }
  spec.nice = pool.nice;
  spec.oom_score_adj = pool.oom_score_adj;
  auto sandbox = sandbox_of(pool);
  if (!sandbox) return sandbox.error().with_context("pool " + pool.name);
  spec.sandbox = std::move(*sandbox);
  return spec;
}

Result<PreparedRevision> prepare_revision(const config::PoolSpec& pool, const RevisionFacts& facts,
                                          const WorkerSockets& sockets) {
  PreparedRevision revision;
  auto surroundings = surroundings_of(pool);
  if (!surroundings) return surroundings.error();
  sys::SpawnSpec& spec = *surroundings;
  spec.executable = pool.executable;
  spec.command = pool.command;
  if (const auto adapted = add_adapter(pool, facts, spec); !adapted) return adapted.error();
  spec.environment.push_back("NOTIFY_SOCKET=" + escape_markers(facts.notify_path));
  spec.environment.push_back("MTD_TAG=" + tag_prefix(facts.instance, pool.name) +
                             marker(SpecMarker::kSlot) + "/" + marker(SpecMarker::kIncarnation));
  if (pool.sandbox.private_tmp && config::is_temporary(facts.notify_path)) {
    return Error{"pool " + pool.name + ": sandbox.private_tmp hides " + facts.notify_path +
                 ", to which the workers report; start mtd with a --runtime-dir elsewhere"};
  }
  add_watchdog(pool, spec);
  add_output(pool, spec, revision);
  add_sockets(sockets, spec, revision);
  if (const auto added = add_ready_descriptor(pool, facts, sockets, spec, revision); !added)
    return added.error().with_context("pool " + pool.name);
  add_task_socket(pool, sockets, spec, revision);

  auto encoded = sys::encode(spec);
  if (!encoded) return encoded.error().with_context("pool " + pool.name);
  revision.spec = std::move(*encoded);
  const auto bytes = sys::read_memfd(revision.spec.get(), keeper::kMaxSpecBytes);
  if (!bytes) return bytes.error();
  revision.spec_bytes = static_cast<std::uint32_t>(bytes->size());
  revision.id = content_id(pool.name, pool.spawn_fingerprint, *bytes);
  return revision;
}

}  // namespace mtd::supervisor
