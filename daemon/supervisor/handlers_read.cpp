// HandlerSet: the calls that only read.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/json_writer.h"
#include "config/loader.h"
#include "daemon/supervisor/handler_set.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/status_json.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/why_lines.h"
#include "daemon/supervisor/worker_text.h"
#include "daemon/sys/pids_limit.h"
#include "daemon/sys/resource_names.h"

namespace mtd::supervisor {

using nlohmann::json;

namespace {

constexpr std::size_t kPieceBytes = 48 * 1024;  // of 64 KiB: the last object added may be large
constexpr std::size_t kPoolsAPiece = 64;

std::vector<std::uint32_t> slots_of(const PoolRunner& pool, const SelectedPool& target) {
  return target.whole() ? pool.model().shown_slots() : target.slots;
}

// Hands out {pool, slot} of the selected workers one after another; a pool's slots are listed when
// its turn comes, and what has vanished meanwhile is left out.
class WorkerWalk {
 public:
  WorkerWalk(Supervisor& supervisor, std::vector<SelectedPool> targets)
      : supervisor_(supervisor), targets_(std::move(targets)) {}

  [[nodiscard]] bool done() const { return target_ >= targets_.size(); }
  // visit(pool, slot view) returns false when it has enough.
  template <class Visit>
  void go_on(const Visit& visit) {
    for (; !done(); ++target_, slots_.reset()) {
      const PoolRunner* pool = supervisor_.find(targets_[target_].pool);
      if (pool == nullptr) continue;
      if (!slots_) {
        slots_ = slots_of(*pool, targets_[target_]);
        at_ = 0;
      }
      while (at_ < slots_->size()) {
        const auto slot = pool->model().slot_view((*slots_)[at_++]);
        if (slot && !visit(*pool, *slot)) return;
      }
    }
  }

 private:
  Supervisor& supervisor_;
  std::vector<SelectedPool> targets_;
  std::size_t target_ = 0, at_ = 0;
  std::optional<std::vector<std::uint32_t>> slots_;
};

json tree_json(const PoolRunner& pool, const model::SlotView& slot,
               const model::ProcessView& process) {
  const std::string cgroup = pool.cgroup_of(process.key);
  return {{"name", pool.name() + "/" + std::to_string(slot.slot)},
          {"pid", process.pid > 0 ? json(process.pid) : json()},
          {"cgroup", cgroup.empty() ? json() : json(cgroup)},
          {"pids", cgroup.empty() ? json() : json(pool.pids_of(process.key))}};
}

// {"pools":[{"name":…,"workers":[…]}]}, of as many workers as a piece takes.
Piece workers_piece(WorkerWalk& walk, const Moment& moment) {
  JsonWriter out;
  const PoolRunner* open = nullptr;
  const auto close = [&] {
    if (open == nullptr) return;
    out.end_array();
    out.end_object();
  };
  out.begin_object();
  out.key("pools");
  out.begin_array();
  walk.go_on([&](const PoolRunner& pool, const model::SlotView& slot) {
    if (open != &pool) {
      close();
      open = &pool;
      out.begin_object();
      out.member("name", pool.name());
      out.key("workers");
      out.begin_array();
    }
    write_worker(out, pool, slot, moment, false);
    return out.text().size() < kPieceBytes;
  });
  close();
  out.end_array();
  out.end_object();
  return {walk.done() ? Piece::Kind::last : Piece::Kind::part, out.take()};
}

json limit_json(const char* name, json limit, json used, const char* unit, const char* note) {
  return {{"name", name},
          {"limit", std::move(limit)},
          {"used", std::move(used)},
          {"unit", unit},
          {"note", note}};
}

}  // namespace

void HandlerSet::status(const CallRef& call) {
  auto targets = selected(call);
  if (!targets) return;
  supervisor_.look_after_broker();
  const Moment moment = supervisor_.moment();
  if (!call->wants_more()) {
    json pools = json::array();
    for (const auto& target : *targets)
      pools.push_back(pool_json(*supervisor_.find(target.pool), moment));
    call->reply({{"daemon", daemon_json(supervisor_, moment)}, {"pools", pools}});
    return;
  }
  struct Progress {
    std::size_t pools = 0;
    std::vector<SelectedPool> targets;
    WorkerWalk walk;
  };
  auto progress =
      std::make_shared<Progress>(Progress{0, *targets, WorkerWalk(supervisor_, *targets)});
  call->stream([this, progress] {
    const Moment at = supervisor_.moment();
    if (progress->pools < progress->targets.size() || progress->targets.empty()) {
      json pools = json::array();
      const bool first = progress->pools == 0;
      for (; progress->pools < progress->targets.size() && pools.size() < kPoolsAPiece;
           ++progress->pools) {
        const PoolRunner* pool = supervisor_.find(progress->targets[progress->pools].pool);
        if (pool != nullptr) pools.push_back(pool_json(*pool, at));
      }
      json piece = {{"daemon", first ? daemon_json(supervisor_, at) : json()}, {"pools", pools}};
      if (!first) piece.erase("daemon");
      return progress->targets.empty() ? Piece::last(piece) : Piece::part(piece);
    }
    return workers_piece(progress->walk, at);
  });
}

void HandlerSet::is_ready(const CallRef& call) {
  const auto targets = selected(call);
  if (!targets) return;
  const Moment moment = supervisor_.moment();
  bool all = true;
  json pools = json::array();
  for (const auto& target : *targets) {
    PoolRunner& pool = *supervisor_.find(target.pool);
    const Goal goal = make_goal(GoalKind::ready, target, pool);
    all = all && judge(goal, supervisor_).verdict == Verdict::reached;
    pools.push_back(pool_json(pool, moment));
  }
  call->reply({{"ready", all}, {"pools", pools}});
}

void HandlerSet::why(const CallRef& call) {
  const auto targets = selected(call);
  if (!targets) return;
  const Moment moment = supervisor_.moment();
  json pools = json::array();
  for (const auto& target : *targets) {
    const PoolRunner& pool = *supervisor_.find(target.pool);
    json story = pool_json(pool, moment);
    json workers = json::array();
    std::vector<model::SlotView> slots;
    for (const auto number : slots_of(pool, target)) {
      auto slot = pool.model().slot_view(number);
      if (!slot) continue;
      workers.push_back(worker_json(pool, *slot, moment));
      slots.push_back(std::move(*slot));
    }
    story["workers"] = std::move(workers);
    story["lines"] = why_lines(supervisor_, pool, slots, target.whole(), moment);
    pools.push_back(std::move(story));
  }
  call->reply({{"pools", pools}});
}

void HandlerSet::get_config(const CallRef& call) {
  json config = json::parse(config::encode(supervisor_.configuration()), nullptr, false);
  call->reply({{"config", config.is_discarded() ? json::object() : std::move(config)},
               {"config_rev", supervisor_.config_revision()},
               {"config_path", supervisor_.config_path()}});
}

void HandlerSet::tree(const CallRef& call) {
  auto targets = selected(call);
  if (!targets) return;
  const auto add = [](json& workers, const PoolRunner& pool, const model::SlotView& slot) {
    for (const auto& process : slot.processes)
      workers.push_back(tree_json(pool, slot, process));
  };
  auto walk = std::make_shared<WorkerWalk>(supervisor_, std::move(*targets));
  if (!call->wants_more()) {
    json workers = json::array();
    walk->go_on([&](const PoolRunner& pool, const model::SlotView& slot) {
      add(workers, pool, slot);
      return true;
    });
    call->reply({{"workers", workers}});
    return;
  }
  call->stream([walk, add] {
    json workers = json::array();
    std::size_t bytes = 0;
    walk->go_on([&](const PoolRunner& pool, const model::SlotView& slot) {
      const std::size_t before = workers.size();
      add(workers, pool, slot);
      for (std::size_t i = before; i < workers.size(); ++i)
        bytes += workers[i].dump().size();
      return bytes < kPieceBytes / 2;  // one tree alone may list thousands of processes
    });
    const json piece = {{"workers", workers}};
    return walk->done() ? Piece::last(piece) : Piece::part(piece);
  });
}

void HandlerSet::limits(const CallRef& call) {
  const auto& hello = supervisor_.hello();
  const auto& daemon = supervisor_.configuration().daemon;
  const auto use = supervisor_.server().use();
  std::uint64_t processes = 0;
  for (const auto& entry : supervisor_.pools())
    processes += entry.second->workers().size();
  const auto or_none = [](std::uint64_t limit) { return limit == 0 ? json() : json(limit); };
  const ControlLimits control;
  const auto pressure = supervisor_.memory_pressure();
  const auto pids = sys::least_pids_limit();
  const json limits = {
      limit_json("processes", hello.capacity, processes, "processes",
                 "what mtd's RLIMIT_NOFILE allows"),
      limit_json("pids.max", pids ? json(pids->most) : json(), pids ? json(pids->used) : json(),
                 "processes",
                 pids ? "and threads; TasksMax= of a unit" : "the kernel sets no limit"),
      limit_json("limits.processes", or_none(daemon.max_processes), processes, "processes",
                 "of the configuration"),
      limit_json("limits.start_concurrency", or_none(daemon.start_concurrency),
                 supervisor_.gate().in_set_up(), "processes", "being set up at once"),
      limit_json("limits.memory_pressure", or_none(daemon.memory_pressure),
                 pressure ? json(static_cast<std::int64_t>(*pressure)) : json(), "per cent",
                 pressure ? "of the time something waits for memory" : "the kernel does not tell"),
      limit_json("limits.clients", daemon.max_clients, use.clients, "clients",
                 "two are held back for the owner"),
      limit_json("clients of one uid", control.clients_per_uid, nullptr, "clients",
                 "other than root and owner"),
      limit_json("request", control.request_bytes, nullptr, "bytes", "one call"),
      limit_json("unread answers", control.unread_bytes_total, use.unread_bytes, "bytes",
                 "of all clients"),
      limit_json("pipelined requests", control.unparsed_bytes_total, use.unparsed_bytes, "bytes",
                 "of all clients"),
      limit_json("events", supervisor_.events().capacity(), supervisor_.events().size(), "events",
                 "kept for `events --since`"),
      limit_json("revisions", keeper::kMaxRevisions, supervisor_.pools().size(), "revisions",
                 "of all pools"),
      limit_json("revision", keeper::kMaxSpecBytes, nullptr, "bytes",
                 "command, environment and the like of a pool"),
      limit_json("worker descriptors", keeper::kMaxDescriptors, nullptr, "descriptors",
                 "given to one worker"),
      limit_json("descriptors of the supervisor", sys::descriptor_limit(), nullptr, "descriptors",
                 ""),
      limit_json("waiting hooks", model::kMaxQueuedHooks, nullptr, "hooks",
                 "of a pool; one runs at a time"),
      limit_json("workers with tasks", config::kMaxTaskWorkers, supervisor_.tasks().sockets(),
                 "processes", "each needs a descriptor more"),
      limit_json("sockets", kMaxSockets, supervisor_.sockets().count(), "descriptors",
                 "that pools listen on"),
      limit_json("state records", kMaxStateRecords, nullptr, "records",
                 "pools and slots that are remembered")};

  json cannot = json::array();
  const auto& cgroups = supervisor_.cgroups();
  const std::string cgroup =
      !cgroups ? "none: " + supervisor_.no_cgroups_reason()
               : (cgroups->has_kill() ? "v2 with cgroup.kill, " : "v2, ") +
                     (cgroups->controllers().empty() ? "no controllers"
                                                     : "controllers " + cgroups->controllers());
  for (const auto& entry : supervisor_.pools()) {
    for (auto& warning : entry.second->limits().warnings())
      cannot.push_back(std::move(warning));
  }
  if (cgroups && cgroups->controllers().find("memory") == std::string::npos) {
    cannot.push_back(
        "without the memory controller a kill for want of memory looks like any other KILL");
  }
  if (!cgroups) {
    cannot.push_back(
        "without cgroups a descendant that drops MTD_TAG from its environment is not found");
    cannot.push_back(
        "without cgroups freeze stops processes with SIGSTOP, which their parents can see");
  }
  if (hello.oom_score_adj > keeper::kOwnOomScore) {
    cannot.push_back(
        "mtd itself is not protected from the kernel's out-of-memory killer: its "
        "oom_score_adj is " +
        std::to_string(hello.oom_score_adj) + ", and it may not lower it");
  }
  if (!pressure && daemon.memory_pressure != 0) {
    cannot.push_back("without pressure stall information (" + pressure.error().message +
                     ") dynamic pools grow though memory is short");
  }
  if (hello.subreaper == 0) cannot.push_back("without a subreaper orphans are lost to PID 1");
  call->reply({{"limits", limits},
               {"host",
                {{"cgroup", cgroup},
                 {"subreaper", hello.subreaper != 0},
                 {"service_manager", hello.under_service_manager != 0},
                 {"capacity_workers", supervisor_.capacity()},
                 {"cannot", cannot}}}});
}

void HandlerSet::events(const CallRef& call) {
  supervisor_.events().serve(call);
}

}  // namespace mtd::supervisor
