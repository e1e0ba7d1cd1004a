// Supervisor: run-time changes (scale, stop, enable) that outlive the daemon and the machine.
// Written by a helper process after each change, read once at the start; a disk that hangs or is
// full holds up nothing.
#include <spdlog/spdlog.h>

#include <utility>

#include "common/escape.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/durable_file.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {

// A daemon with a runtime directory of its own keeps its state there too: two daemons share none.
void Supervisor::choose_state_dir() {
  state_dir_ = options_.state_dir;
  if (!state_dir_.empty()) return;
  state_dir_ = options_.runtime_dir.empty() ? sys::default_state_dir() : runtime_dir_;
}

void Supervisor::take_run_time_changes(const LoadAnswer& answer) {
  auto changes = decode_run_time_changes(answer.run_time_changes);
  const std::string problem =
      !answer.run_time_error.empty() ? answer.run_time_error
      : changes                      ? std::string()
                : state_dir_ + "/" + kRunTimeChangesFile + ": " + changes.error().message;
  if (!problem.empty()) {
    spdlog::warn("{}; scale and stop of earlier are forgotten, and the file is set aside",
                 escape_for_terminal(problem));
    set_aside_ = true;
    return;
  }
  remember(*changes);
  kept_changes_ = std::move(*changes);
}

// Where the state is lost, in part or all of it: how many workers are wanted, and of which pools
// none, does not depend on it. The numbers of the configuration would end workers.
void Supervisor::take_held_changes() {
  const UniqueFd file = held(kHeldChanges);
  if (!file || !state_is_new_) return;
  const auto text = sys::read_memfd(file.get(), kMaxRunTimeChangesBytes);
  const auto changes = text ? decode_run_time_changes(*text) : Result<RunTimeChanges>(text.error());
  if (changes) {
    remember(*changes);
  } else {
    spdlog::warn("{}; scale and stop of earlier are forgotten",
                 escape_for_terminal(changes.error().message));
  }
}

// A pool that the state knows is as the state says.
void Supervisor::remember(const RunTimeChanges& changes) {
  for (const auto& [name, change] : changes) {
    const auto [at, is_unknown] = remembered_.pools.try_emplace(name);
    if (!is_unknown) continue;
    auto& record = at->second.record;
    record.name = name;
    record.memory.want = change.want;
    record.memory.stopped = change.stopped_by.has_value();
    record.stopped_by = change.stopped_by ? *change.stopped_by + 1 : 0;
    at->second.changes.enabled = change.enabled;
  }
}

RunTimeChanges Supervisor::run_time_changes() const {
  RunTimeChanges changes;
  for (const auto& [name, pool] : pools_) {
    if (pool->removing() && !pool->successor) continue;
    const auto& record = pool->record();
    const RunTimeChange change{record.memory.want,
                               record.memory.stopped ? pool->stopped_by() : std::nullopt,
                               pool->enabled()};
    if (change != RunTimeChange{}) changes[name] = change;
  }
  return changes;
}

void Supervisor::hold_run_time_changes(const RunTimeChanges& changes) {
  if (held_changes_ == changes) return;
  const auto file = sys::make_sealed_memfd("mtd-changes", encode(changes));
  if (!file) return;  // tried again with the next change of anything
  keeper_.hold(kHeldChanges, file->get());
  held_changes_ = changes;
}

void Supervisor::persist_run_time_changes() {
  if (!serving_ || stopping_) return;
  RunTimeChanges changes = run_time_changes();
  hold_run_time_changes(changes);
  if (persisting_ || state_dir_.empty() || kept_changes_ == changes) return;
  const std::string bad = set_aside_ ? std::string(kRunTimeChangesFile) + ".bad." +
                                           std::to_string(sys::realtime_ns() / 1'000'000'000)
                                     : std::string();
  auto writer = sys::HelperProcess::start(
      loop_, sys::kHelperDeadline,
      [directory = state_dir_, bad, text = encode(changes)] {
        if (!bad.empty()) sys::set_aside(directory, kRunTimeChangesFile, bad);
        const auto written = sys::write_durably(directory, kRunTimeChangesFile, text);
        return written ? std::string() : written.error().message;
      },
      [this](const Result<std::string>& problem) {
        persisting_ = false;
        dirty_ = true;
        const std::string text = problem ? *problem : problem.error().message;
        if (text.empty()) return;
        spdlog::warn("{}; scale and stop do not outlive mtd", escape_for_terminal(text));
      });
  // Tried once for each change: a disk that refuses is not asked for ever.
  kept_changes_ = std::move(changes);
  set_aside_ = false;
  if (!writer) {
    spdlog::warn("cannot write {}: {}", kRunTimeChangesFile, writer.error().message);
    return;
  }
  persisting_ = true;
  writer_ = std::move(*writer);
}

}  // namespace mtd::supervisor
