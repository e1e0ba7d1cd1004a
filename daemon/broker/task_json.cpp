#include "daemon/broker/task_json.h"

#include <nlohmann/json.hpp>

#include "daemon/broker/model/vocabulary.h"

namespace mtd::broker {
namespace {

using nlohmann::json;

std::int64_t ms(task::WallTime at) {
  return at.ns / 1'000'000;
}

std::string worker_name(const std::string& pool, const task::WorkerKey& worker) {
  return pool + "/" + std::to_string(worker.slot);
}

json attempt_json(const std::string& pool, const task::AttemptRecord& record) {
  json attempt{{"attempt", record.attempt},
               {"worker", worker_name(pool, record.worker)},
               {"started_ms", ms(record.started)},
               {"ended_ms", ms(record.ended)},
               {"outcome", task::name_of(record.outcome)}};
  if (record.outcome == task::AttemptOutcome::crashed)
    attempt["detail"] = task::describe(record.death);
  return attempt;
}

}  // namespace

json task_json(const task::FoundTask& found, const std::string* progress, bool with_history) {
  const task::TaskRow& row = found.row;
  const task::TaskFacts& facts = row.facts;
  json task{{"id", facts.id.value},
            {"pool", row.pool},
            {"state", task::name_of(facts.state)},
            {"attempt", facts.counters.attempts},
            {"failures", facts.counters.failures},
            {"crashes", facts.counters.crashes},
            {"recoveries", facts.counters.recoveries},
            {"priority", facts.priority},
            {"created_ms", ms(facts.created)}};
  if (!row.uid.empty()) task["uid"] = row.uid;
  if (!row.name.empty()) task["name"] = row.name;
  if (!facts.group.empty()) task["group"] = facts.group;
  if (facts.state == task::TaskState::scheduled) task["due_ms"] = ms(facts.due);
  if (facts.state == task::TaskState::running) {
    task["started_ms"] = ms(facts.started);
    task["worker"] = worker_name(row.pool, facts.worker);
    if (progress != nullptr && !progress->empty())
      task["progress"] = json::parse("{" + progress->substr(1) + "}", nullptr, false);
  }
  if (task::is_final(facts.state)) task["finished_ms"] = ms(row.finished);
  if (row.reason != task::Reason::none) task["reason"] = task::name_of(row.reason);
  if (found.answer && !found.answer->error.empty())
    task["error"] = json::parse(found.answer->error, nullptr, false);
  if (with_history) {
    task["history"] = json::array();
    for (const task::AttemptRecord& record : found.history)
      task["history"].push_back(attempt_json(row.pool, record));
  }
  return task;
}

json queue_json(const QueueRunner& queue, task::WallTime now) {
  const task::QueueView view = queue.queue().view();
  json object{{"pool", queue.pool()},
              {"mode", queue.settings().mode},
              {"paused", view.paused},
              {"closed", view.closed},
              {"scheduled", view.scheduled},
              {"waiting", view.waiting},
              {"running", view.running},
              {"done", view.done},
              {"failed", view.failed_attempts},
              {"crashed_attempts", view.crashed_attempts},
              {"dead", view.dead},
              {"cancelled", view.cancelled},
              {"expired", view.expired},
              {"stale_answers", view.late_answers},
              {"rejected", view.refused_puts},
              {"bytes", view.bytes},
              {"max", queue.queue().spec().max_queue},
              {"max_bytes", queue.queue().spec().max_queue_bytes},
              {"workers", view.workers},
              {"busy", queue.busy_workers()}};
  if (!view.oldest_waiting.is_never())
    object["oldest_ms"] = now.since(view.oldest_waiting).count_ms();
  return object;
}

json store_json(const task::StoreDescription& description) {
  constexpr const char* kHealth[] = {"good", "full", "failed"};
  json store{{"state", kHealth[static_cast<std::size_t>(description.health)]},
             {"path", description.path},
             {"bytes", description.bytes}};
  if (!description.message.empty()) store["message"] = description.message;
  return store;
}

}  // namespace mtd::broker
