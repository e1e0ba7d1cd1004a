#include "daemon/supervisor/worker_text.h"

#include <algorithm>
#include <optional>
#include <string>

#include "common/escape.h"
#include "common/exit_status.h"
#include "common/timestamp.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/supervisor/status_json.h"

namespace mtd::supervisor {
namespace {

template <class Value>
std::optional<Value> only_if(bool condition, Value value) {
  return condition ? std::optional<Value>(std::move(value)) : std::nullopt;
}

std::optional<std::string> unless_empty(std::string text) {
  const bool known = !text.empty();
  return only_if(known, std::move(text));
}

const ExitFacts* facts_of(const PoolRunner& pool, std::uint32_t slot, std::uint64_t incarnation) {
  const auto* exits = pool.exits(slot);
  if (exits == nullptr) return nullptr;
  for (const auto& facts : *exits) {
    if (facts.incarnation == incarnation) return &facts;
  }
  return nullptr;
}

void write_status(JsonWriter& out, const model::ExitRecord& exit) {
  const auto status = ExitStatus::from_wait(exit.wait_status);
  const bool known = exit.has_status();
  const auto signal = known ? status.signal() : std::nullopt;
  out.member("signal", only_if(signal.has_value(), signal.value_or(SignalNumber{}).value));
  if (signal) {
    out.member("signal_name", "SIG" + signal_name(*signal));
  } else {
    out.member("signal_name", nullptr);
  }
  out.member("code", known ? status.code() : std::nullopt);
  out.member("core", known && status.core_dumped());
}

void write_refusal(JsonWriter& out, const model::ExitRecord& exit) {
  const bool refused = exit.error != 0;
  out.member("stage", only_if(refused, stage_name(exit.stage)));
  out.member("errno", only_if(refused, exit.error));
  out.member("errno_name", refused ? unless_empty(errno_name(exit.error)) : std::nullopt);
}

void write_use(JsonWriter& out, const ExitFacts* facts) {
  const ExitFacts known = facts != nullptr ? *facts : ExitFacts();
  out.member("user_cpu_ms", only_if(facts != nullptr, known.user_cpu_us / 1000));
  out.member("system_cpu_ms", only_if(facts != nullptr, known.system_cpu_us / 1000));
  out.member("max_rss_bytes", only_if(facts != nullptr, known.max_rss_kib * 1024));
}

// Older processes of a slot whose newest one is on its way.
void write_retiring(JsonWriter& out, const model::SlotView& slot) {
  out.key("retiring");
  out.begin_array();
  for (std::size_t i = 1; i < slot.processes.size(); ++i) {
    const auto& older = slot.processes[i];
    out.begin_object();
    out.member("pid", older.pid);
    out.member("incarnation", older.key.incarnation);
    out.member("state", model::name_of(older.state));
    out.key("ending");
    older.ending ? out.value(model::name_of(*older.ending)) : out.value(nullptr);
    out.end_object();
  }
  out.end_array();
}

std::string probe_text_of(const WorkerRecord& worker) {
  std::string text;
  for (const auto role : {model::ProbeRole::live, model::ProbeRole::ready}) {
    const std::string& wrong = worker.probe_texts[static_cast<std::size_t>(role)];
    if (wrong.empty()) continue;
    text += text.empty() ? "" : "; ";
    text += role == model::ProbeRole::live ? "live probe: " : "ready probe: ";
    text += escape_for_terminal(wrong);
  }
  return text;
}

void write_process(JsonWriter& out, const PoolRunner& pool, const model::ProcessView& process,
                   const Moment& moment) {
  const bool alive = process.pid > 0;
  const auto age = moment.age(process.started);
  const auto record = pool.workers().find(process.key);
  out.member("pid", only_if(alive, process.pid));
  out.member("incarnation", process.key.incarnation);
  out.member("revision", process.revision);
  out.member("started", alive ? unless_empty(moment.timestamp(process.started)) : std::nullopt);
  out.member("uptime_ms", alive ? age.count_ms() : 0);
  const auto tasks = pool.tasks_of(process.key);
  out.member("tasks", tasks ? std::max(tasks->answered, process.tasks) : process.tasks);
  out.member("task_limit", only_if(process.task_limit != 0, process.task_limit));
  out.key("ending");
  process.ending ? out.value(model::name_of(*process.ending)) : out.value(nullptr);
  out.member("cgroup", unless_empty(pool.cgroup_of(process.key)));
  out.member("status_text", record == pool.workers().end()
                                ? std::nullopt
                                : unless_empty(escape_for_terminal(record->second.status_text)));
  out.member("probe_text", record == pool.workers().end()
                               ? std::nullopt
                               : unless_empty(probe_text_of(record->second)));
}

void write_absence(JsonWriter& out, const PoolRunner& pool, const model::SlotView& slot) {
  out.member("pid", nullptr);
  out.member("incarnation", slot.incarnation);
  out.member("revision", pool.revision());
  out.member("started", nullptr);
  out.member("uptime_ms", 0);
  out.member("tasks", 0);
  for (const char* name : {"task_limit", "ending", "cgroup", "status_text", "probe_text"})
    out.member(name, nullptr);
}

}  // namespace

void write_exit(JsonWriter& out, const PoolRunner& pool, std::uint32_t slot,
                const model::ExitRecord& exit, const Moment& moment) {
  const ExitFacts* facts = facts_of(pool, slot, exit.incarnation);
  const bool timed = facts != nullptr && facts->at_realtime_ns != 0;
  out.begin_object();
  out.member("cause", model::name_of(exit.cause));
  write_status(out, exit);
  out.member("at", timed ? format_timestamp(facts->at_realtime_ns) : moment.timestamp(exit.at));
  out.member("planned", exit.planned);
  write_refusal(out, exit);
  out.member("pid", exit.pid);
  out.member("incarnation", exit.incarnation);
  write_use(out, facts);
  out.end_object();
}

void write_worker(JsonWriter& out, const PoolRunner& pool, const model::SlotView& slot,
                  const Moment& moment, bool with_exits) {
  out.begin_object();
  out.member("id", slot.slot);
  out.member("name", pool.name() + "/" + std::to_string(slot.slot));
  const auto tasks =
      slot.processes.empty() ? std::nullopt : pool.tasks_of(slot.processes.front().key);
  const bool takes_tasks = tasks && slot.state == model::WorkerState::ready;
  out.member("state", !takes_tasks         ? model::name_of(slot.state)
                      : tasks->running > 0 ? std::string_view("busy")
                                           : std::string_view("idle"));
  if (slot.processes.empty()) {
    write_absence(out, pool, slot);
  } else {
    write_process(out, pool, slot.processes.front(), moment);
  }
  const std::uint64_t current = tasks.value_or(sys::BoardWorker{}).current;
  out.member("current_task", current != 0 ? std::optional(std::to_string(current)) : std::nullopt);
  for (const char* name : {"rss_bytes", "cpu_pct"})  // read by mtctl itself
    out.member(name, nullptr);
  out.member("restarts", slot.restarts);
  out.member("recycled", slot.recycled);
  const bool waits = !slot.next_attempt.is_never();
  out.member("next_attempt_ms",
             only_if(waits, waits ? slot.next_attempt.since(moment.now).count_ms() : 0));
  write_retiring(out, slot);
  out.key("last_exit");
  if (slot.exits.empty()) {
    out.value(nullptr);
  } else {
    write_exit(out, pool, slot.slot, slot.exits.front(), moment);
  }
  if (with_exits) {
    out.key("exits");
    out.begin_array();
    for (const auto& exit : slot.exits)
      write_exit(out, pool, slot.slot, exit, moment);
    out.end_array();
  }
  out.end_object();
}

}  // namespace mtd::supervisor
