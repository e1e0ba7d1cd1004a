#include "tests/support/store_samples.h"

namespace mtd::test {

using namespace task;

std::vector<StoreOp> StoreSamples::batch(std::size_t most) {
  std::vector<StoreOp> ops;
  const std::size_t count = 1 + below(most);
  for (std::size_t i = 0; i < count; ++i) {
    ++time_;
    if (samples_.size() < 3 || below(100) < 30) {
      ops.push_back(put());
    } else {
      ops.push_back(about(samples_[below(samples_.size())]));
    }
    ops.back().durability = below(4) == 0 ? Durability::process : Durability::fsync;
  }
  return ops;
}

StoreOp StoreSamples::put() {
  PutOp op;
  op.pool = below(2) == 0 ? "left" : "right";
  op.ticket.value = next_id_;
  const std::size_t count = 1 + below(3);
  for (std::size_t i = 0; i < count; ++i) {
    NewTask& task = op.tasks.emplace_back();
    TaskFacts& facts = task.facts;
    facts.id.value = next_id_++;
    facts.state = below(3) == 0 ? TaskState::scheduled : TaskState::waiting;
    facts.priority = static_cast<std::int32_t>(below(7)) - 3;
    facts.order = order_++;
    facts.max_attempts = static_cast<std::uint32_t>(below(3));
    if (below(2) == 0) facts.timeout = Duration::seconds(static_cast<std::int64_t>(below(100)));
    facts.due.ns = time_ + 5;
    facts.due_by_wall = below(2) == 0;
    if (below(3) == 0) facts.expires.ns = time_ + 100;
    facts.created.ns = time_;
    if (below(3) == 0) facts.group = "group" + std::to_string(below(3));
    if (below(3) == 0) facts.unique = "key" + std::to_string(below(4));
    auto body = std::make_shared<TaskBody>();
    if (below(3) == 0) body->uid = "uid" + std::to_string(below(40));
    if (below(2) == 0) body->name = "resize";
    body->args = "[" + std::to_string(below(1000)) + "]";
    body->data = std::string(below(4) == 0 ? 2000 : below(body_bytes_ + 1), 'x');
    body->data += '\0';  // a raw byte that ends no text
    facts.bytes = body->bytes();
    task.body = std::move(body);
    samples_.push_back({facts.id, 0, false, false});
  }
  StoreOp whole;
  whole.what = std::move(op);
  return whole;
}

AttemptRecord StoreSamples::record(const Sample& sample) {
  AttemptRecord record;
  record.attempt = sample.attempts;
  record.worker = {static_cast<std::uint32_t>(below(4)), below(9)};
  record.started.ns = time_ - 1;
  record.ended.ns = time_;
  record.outcome = static_cast<AttemptOutcome>(below(7));
  record.death = {static_cast<DeathCause>(below(6)), static_cast<int>(below(15))};
  return record;
}

StoreOp StoreSamples::about(Sample& sample) {
  const std::uint32_t attempt = below(12) == 0 ? sample.attempts + 3 : sample.attempts;
  const bool apart = !sample.running && below(4) == 0;  // claimed, but not by this store
  auto answer = std::make_shared<Answer>();
  if (below(2) == 0) answer->result = "{\"size\":" + std::to_string(below(100)) + "}";
  if (below(2) == 0) answer->data = std::string(below(5) == 0 ? 3000 : 20, 'y');
  if (below(4) == 0) answer->error = "{\"message\":\"no\"}";
  if (below(9) == 0) answer->file = "spool/7";
  if (answer->result.empty() && answer->data.empty() && answer->error.empty()) answer->result = "1";
  StoreOp whole;
  switch (below(10)) {
    case 0:
    case 1:
    case 2: {
      ClaimOp op;
      op.id = sample.id;
      op.attempt = attempt + 1;
      op.worker = {1, 2};
      op.started.ns = time_;
      if (!sample.running && !sample.final && attempt == sample.attempts) {
        ++sample.attempts;
        sample.running = true;
      }
      whole.what = op;
      break;
    }
    case 3:
    case 4: {
      FinishOp op;
      op.id = sample.id;
      op.attempt = apart ? attempt + 1 : attempt;
      whole.claimed_apart = apart;
      op.state = static_cast<TaskState>(3 + below(4));
      op.reason = static_cast<Reason>(below(10));
      op.counters = {op.attempt, 1, 2, 3};
      op.finished.ns = time_;
      if (attempt == sample.attempts) {
        sample.attempts = op.attempt;
        sample.final = true;
      }
      if (sample.running || apart) op.record = record(sample);
      if (below(4) != 0) op.answer = std::move(answer);
      whole.what = std::move(op);
      break;
    }
    case 5: {
      RequeueOp op;
      op.id = sample.id;
      op.attempt = apart ? attempt + 1 : attempt;
      whole.claimed_apart = apart;
      op.state = below(2) == 0 ? TaskState::waiting : TaskState::scheduled;
      op.reason = Reason::failed;
      op.due.ns = time_ + 9;
      op.order = order_++;
      op.counters = {op.attempt, 2, 1, 0};
      if (attempt == sample.attempts) {
        sample.attempts = op.attempt;
        sample.running = false;
      }
      op.record = record(sample);
      if (below(2) == 0) op.answer = std::move(answer);
      whole.what = std::move(op);
      break;
    }
    case 6:
      whole.what = PromoteOp{sample.id, order_++};
      break;
    case 7:
      whole.claimed_apart = apart;
      whole.what = CancelOp{sample.id, apart ? attempt + 1 : attempt, Reason::user};
      break;
    case 8: {
      ReviveOp op;
      op.id = sample.id;
      op.pool = below(2) == 0 ? "left" : "right";
      op.order = order_++;
      whole.what = std::move(op);
      sample = {sample.id, 0, false, false};
      break;
    }
    default:
      if (below(2) == 0) {
        CollectOp op;
        op.pool = "left";
        op.done_before.ns = time_ - 150;
        op.dead_before.ns = time_ - 200;
        op.limit = 4;
        whole.what = std::move(op);
      } else {
        RemoveOp op;
        op.ids = {sample.id, TaskId{9'999'999}};
        whole.what = std::move(op);
      }
  }
  return whole;
}

namespace {

std::string text_of(const TaskFacts& facts) {
  const auto number = [](auto value) { return std::to_string(value) + " "; };
  return number(facts.id.value) + number(static_cast<int>(facts.state)) + number(facts.priority) +
         number(facts.order) + number(facts.counters.attempts) + number(facts.counters.failures) +
         number(facts.counters.crashes) + number(facts.counters.recoveries) +
         number(facts.max_attempts) + number(facts.timeout ? facts.timeout->count_ns() : -1) +
         number(facts.due.ns) + number(facts.due_by_wall ? 1 : 0) + number(facts.expires.ns) +
         number(facts.created.ns) + number(facts.started.ns) + number(facts.worker.slot) +
         number(facts.worker.incarnation) +
         number(facts.cancel ? static_cast<int>(*facts.cancel) : -1) +
         number(static_cast<int>(facts.durability)) + number(facts.bytes) + facts.group + " " +
         facts.unique;
}

std::string text_of(const BodyRef& body) {
  return body ? body->uid + "|" + body->name + "|" + body->args + "|" + body->data : "none";
}

std::string text_of(const AnswerRef& answer) {
  return answer ? answer->result + "|" + answer->data + "|" + answer->file + "|" + answer->error
                : "none";
}

}  // namespace

std::string dump(TaskStore& store) {
  ListTasks all;
  all.filter.limit = 10'000;
  std::string text;
  for (const FoundTask& listed : store.answer(all).tasks) {
    FindTask which;
    which.id = listed.row.facts.id;
    which.with_body = which.with_answer = which.with_history = true;
    const FoundTask found = store.answer(which).tasks.at(0);
    text += found.row.pool + " " + text_of(found.row.facts) + " " +
            std::to_string(static_cast<int>(found.row.reason)) + " " +
            std::to_string(static_cast<int>(found.row.death.cause)) + " " +
            std::to_string(found.row.death.number) + " " + std::to_string(found.row.finished.ns) +
            " body " + text_of(found.body) + " answer " + text_of(found.answer);
    for (const AttemptRecord& record : found.history) {
      text += " attempt " + std::to_string(record.attempt) + " " +
              std::to_string(record.worker.slot) + " " + std::to_string(record.worker.incarnation) +
              " " + std::to_string(record.started.ns) + " " + std::to_string(record.ended.ns) +
              " " + std::to_string(static_cast<int>(record.outcome));
    }
    text += "\n";
  }
  return text;
}

std::string dump(const std::vector<StoreDone>& completions) {
  std::string text;
  for (const StoreDone& done : completions) {
    text += std::to_string(done.op.what.index()) + " status " +
            std::to_string(static_cast<int>(done.status)) + " removed " +
            std::to_string(done.removed) + " oldest " + std::to_string(done.oldest_done.ns) + " " +
            std::to_string(done.oldest_dead.ns) + " body " + text_of(done.body);
    for (const PutOutcome& put : done.puts)
      text += " put " + std::to_string(put.id.value) + " " +
              std::to_string(static_cast<int>(put.existed));
    if (done.facts) text += " facts " + text_of(*done.facts);
    text += "\n";
  }
  return text;
}

}  // namespace mtd::test
