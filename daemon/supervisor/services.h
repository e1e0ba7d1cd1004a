// Services: what the pools' shells use together. Wired by the supervisor; nothing here is global.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/sockets.h"
#include "daemon/supervisor/spawn_gate.h"
#include "daemon/supervisor/state_store.h"
#include "daemon/sys/cgroup.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/keeper_link.h"

namespace mtd::supervisor {

class Errands;
class PoolRunner;
class TaskPlane;
class TreeScanner;
class Prober;

// Who is told what happened: event stream, log, waiting calls.
class Publisher {
 public:
  virtual ~Publisher() = default;
  virtual void publish(const PoolRunner& pool, const model::PublishAction& action) = 0;
  // Of mtd itself, or beside what pools do; pool and pid may be empty and 0.
  virtual void publish_own(const std::string& event, const std::string& detail,
                           const std::string& pool, int pid) = 0;
  // What was put into the state, and what was published, is true from now on.
  virtual void commit() = 0;
  // Something that nobody is told of, but someone may wait for.
  virtual void changed() = 0;
};

struct Services {
  sys::EventLoop& loop;
  sys::KeeperLink& keeper;
  StateStore& state;
  Sockets& sockets;
  Publisher& publisher;
  TaskPlane& tasks;
  SpawnGate& gate;
  TreeScanner& scanner;  // without cgroups
  Prober& prober;
  Errands& errands;
  std::optional<sys::CgroupTree>& cgroups;     // empty: not available
  std::unordered_map<int, keeper::Key>& pids;  // of main processes, until they are forgotten
  std::unordered_map<std::uint64_t, keeper::Key>& spawns;  // by serial, until answered
  std::minstd_rand& entropy;
  std::function<model::GrantCommand(const PoolRunner&)> grant;  // to a pool that claims workers
  std::function<void()> before_exit;  // takes in all notifications that have arrived
  keeper::Hello hello;
  RevisionFacts revision_facts;
  const std::string& no_cgroups_reason;  // empty: there are cgroups
};

}  // namespace mtd::supervisor
