// What may happen next.
#include <algorithm>

#include "daemon/broker/model/state.h"
#include "daemon/broker/model/vocabulary.h"
#include "tests/explore/task_rig.h"

namespace mtd::test {

using namespace task;
using Kind = TaskRig::Choice::Kind;

std::vector<TaskRig::Choice> TaskRig::choices() const {
  std::vector<Choice> all;
  const auto add = [&all](const char* text, Kind kind, WorkerKey worker = {}, TaskId id = {},
                          std::uint32_t attempt = 0) {
    Choice choice;
    choice.text = text;
    if (worker.incarnation != 0) choice.text += " " + std::to_string(worker.slot);
    if (id.value != 0) choice.text += " task " + std::to_string(id.value);
    choice.kind = kind;
    choice.worker = worker;
    choice.id = id;
    choice.attempt = attempt;
    all.push_back(std::move(choice));
  };
  if (next_id_ <= menu_.puts) add("put", Kind::put);
  if (!under_way_.empty()) {
    add("commit", Kind::commit);
    if (menu_.early && early() != 0) add("commit of what needs no sync", Kind::commit_early);
    if (menu_.full && !broken_) add("no room", Kind::commit_full);
    if (menu_.broken && !broken_) add("store breaks", Kind::commit_broken);
  }
  if (menu_.tight && !tight_) add("no room for more", Kind::tighten);
  for (const auto& [key, body] : bodies_) {
    for (const auto& [id, attempt] : body.has) {
      if (unsettled_.count({id, attempt}) != 0 || body.closed) continue;  // answered, or cannot
      add("done", Kind::done, key, TaskId{id}, attempt);
      if (menu_.fail) add("fails", Kind::fail, key, TaskId{id}, attempt);
      if (menu_.no_retry) add("fails for good", Kind::no_retry, key, TaskId{id}, attempt);
    }
    if (menu_.crash || body.killed) add("crash", Kind::crash, key);
    if (menu_.stop || body.draining_said) add("stopped", Kind::stop, key);
    if (menu_.misbehave && !body.killed) add("nonsense", Kind::misbehave, key);
    if (menu_.close && !body.closed && body.ready) add("close", Kind::close, key);
    if (menu_.drain && !body.drained && body.ready) add("drain", Kind::drain, key);
    if (menu_.recycle && !body.spent && body.ready && !body.closed)
      add("recycle", Kind::recycle, key);
    if (!body.ready && !body.closed) add("ready", Kind::ready, key);
    if (menu_.late && body.ready && !body.closed) {
      for (const auto& [id, attempt] : sent_) {
        const bool current = body.has.count(id) != 0 && body.has.at(id) == attempt;
        if (!current && late_.count({id, attempt}) == 0 && unsettled_.count({id, attempt}) == 0)
          add("late", Kind::late, key, TaskId{id}, attempt);
      }
    }
  }
  for (std::uint32_t slot = 0; slot < menu_.slots && spares_ < menu_.spares; ++slot) {
    const auto in_slot = [slot](const auto& body) { return body.first.slot == slot; };
    if (std::none_of(bodies_.begin(), bodies_.end(), in_slot))
      add("new worker", Kind::attach, WorkerKey{slot, 1});
  }
  if (cancels_ < menu_.cancels) {
    for (std::uint64_t id = 1; id < next_id_; ++id) {
      add("cancel", Kind::cancel, {}, TaskId{id});
      add("cancel now", Kind::cancel_now, {}, TaskId{id});
    }
    if (menu_.group) add("cancel the group", Kind::cancel_group);
  }
  if (revives_ < menu_.revives) {
    for (const auto& [id, stored] : store_) {
      if (is_final(stored.facts.state)) add("revive", Kind::revive, {}, TaskId{id});
    }
  }
  if (!queue_.next_deadline().is_never()) add("deadline", Kind::deadline);
  if (menu_.pause) {
    add(paused_ ? "resume" : "pause", paused_ ? Kind::resume : Kind::pause);
  }
  if (menu_.restart && restarts_ < menu_.restarts) {
    for (std::size_t number = 0; number <= under_way_.size(); ++number) {
      add("restart", Kind::restart);
      all.back().number = number;
      all.back().text += " after " + std::to_string(number);
    }
  }
  return all;
}

}  // namespace mtd::test
