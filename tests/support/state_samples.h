// A small state as an earlier supervisor might have left it, for tests and the fuzz target.
#pragma once

#include <csignal>
#include <string>

#include "daemon/supervisor/state_store.h"
#include "daemon/sys/memfd.h"

namespace mtd::test {

inline supervisor::PoolRecord sample_pool(std::uint32_t id = 7, std::string name = "web") {
  using namespace model;
  supervisor::PoolRecord pool;
  pool.id = id;
  pool.name = std::move(name);
  pool.revision = 9;
  pool.stopped_by = 1001;
  pool.memory.fingerprint = 77;
  pool.memory.want = 12;
  pool.memory.was_full = true;
  pool.memory.frozen_since = Instant::at_ns(5);
  pool.memory.breaker = BreakerHalfOpen{3U};
  pool.memory.rollout = {true, true, false, 2};
  pool.memory.restarts = 5;
  pool.memory.recycled = 1ULL << 40U;
  pool.memory.spawn_failures = 3;
  pool.memory.stale_facts = 4;
  pool.memory.shown = PoolState::rolling;
  pool.memory.shown_since = Instant::at_ns(99);
  pool.memory.scaling = Scaling{5, 7, Restraint::memory, true, Instant::at_ns(123), 4};
  return pool;
}

inline supervisor::ChangeRecord sample_changes(std::uint32_t pool = 7) {
  supervisor::ChangeRecord record;
  record.pool = pool;
  record.newest = 11;
  record.previous = {8, 76};
  record.failed = {10, ~0ULL};
  record.failed_slot = 3;
  record.failed_exit.cause = model::ExitCause::start_timeout;
  record.failed_exit.wait_status = 9;
  record.failed_exit.incarnation = 5;
  record.paused = record.settling = record.held_back = true;
  record.stop_due = model::StopManner::drain;
  record.enabled = false;
  return record;
}

inline supervisor::SlotRecord sample_slot(std::uint32_t number, std::uint32_t pool = 7) {
  supervisor::SlotRecord record;
  record.pool = pool;
  record.slot = number;
  auto& slot = record.memory.slot;
  slot.rest = model::BackingOff{Instant::at_ns(123456789)};
  slot.replacing = model::Replacing::reload;
  slot.crash_streak = 6;
  slot.spawn_streak = 2;
  slot.incarnation = 1ULL << 50U;
  slot.restarts = 2;
  slot.recycled = 4;
  slot.spawn_failures = 1;
  slot.exits_told = 4;
  record.memory.reload = true;
  return record;
}

inline supervisor::ProcessRecord sample_process(std::uint32_t slot, std::uint64_t incarnation,
                                                model::ProcessState state, std::uint32_t pool = 7) {
  supervisor::ProcessRecord record;
  record.pool = pool;
  record.slot = slot;
  record.process.incarnation = incarnation;
  record.process.revision = 8;
  record.process.fingerprint = ~0ULL;
  record.process.started = Instant::at_ns(42);
  record.process.tasks = 17;
  record.process.task_limit = 1000;
  record.process.pid = 4711;
  record.process.limits = {1ULL << 30U, true, Instant::at_ns(5000), Duration::seconds(60),
                           Instant::at_ns(6000)};
  record.process.watch.alive_every = Duration::seconds(30);
  record.process.watch.alive_until = Instant::at_ns(7000);
  record.process.watch.live = {Instant::at_ns(8000), true, 2};
  record.process.activity = model::Activity::busy;
  record.process.state = state;
  record.status = "serving 3 clients";
  return record;
}

inline supervisor::ExitsRecord sample_exits(std::uint32_t slot, std::uint64_t first,
                                            std::size_t count, std::uint32_t pool = 7) {
  supervisor::ExitsRecord record;
  record.pool = pool;
  record.slot = slot;
  record.chunk = static_cast<std::uint32_t>(first / supervisor::kExitsARecord);
  record.first = first;
  for (std::size_t i = 0; i < count; ++i) {
    supervisor::ExitsRecord::End end;
    end.exit.cause = model::ExitCause::oom;
    end.exit.wait_status = SIGKILL;
    end.exit.pid = 100;
    end.exit.incarnation = first + i + 1;
    end.exit.at = Instant::at_ns(1000);
    end.facts = {first + i + 1, 1'700'000'000'000'000'000, 1'000, 2'000, 4'096};
    record.ends.push_back(end);
  }
  return record;
}

// One pool with two slots; whole, as a file.
inline std::string sample_state() {
  using namespace supervisor;
  auto store = StateStore::create();
  if (!store) return {};
  DaemonRecord daemon;
  daemon.config_revision = 3;
  daemon.next_pool_id = 8;
  daemon.event_number = 1234;
  for (int turn = 0; turn < 2; ++turn) {  // so that both copies of each are written
    daemon.config_revision += 1;
    store->put(daemon);
    store->put(sample_pool());
    store->put(CrashRecord{7, 0, 0, {{Instant::at_ns(1), 2}}});
    store->put(sample_slot(0));
    store->put(sample_process(0, 1, model::Up{Instant::at_ns(50)}));
    store->put(sample_process(1, 2, model::Stopping{model::ExitCause::stop, Instant::at_ns(60)}));
    store->put(sample_exits(0, 0, 3));
    store->put(sample_exits(0, 3, 1));
    store->commit();
  }
  const auto bytes = sys::read_memfd(store->fd(), kMaxStateBytes);
  return bytes ? *bytes : std::string();
}

}  // namespace mtd::test
