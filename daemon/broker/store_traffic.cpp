#include "daemon/broker/store_traffic.h"

#include <sys/epoll.h>

#include <iterator>
#include <utility>

#include "daemon/sys/clock.h"

namespace mtd::broker {
namespace {

// What is to be forgotten waits so long for company.
constexpr Duration kForgetPause = Duration::milliseconds(50);

}  // namespace

Result<void> StoreTraffic::start() {
  auto watch = loop_.watch(stores_.fd(), EPOLLIN, sys::Priority::normal,
                           [this](std::uint32_t) { on_output(); });
  if (!watch) return watch.error();
  auto forget = loop_.timer(sys::Priority::idle, [this] { stores_.forget_now(); });
  if (!forget) return forget.error();
  watch_ = std::move(*watch);
  forget_ = std::move(*forget);
  return {};
}

void StoreTraffic::remove(std::vector<task::TaskId> ids) {
  task::StoreOp op;
  op.what = task::RemoveOp{std::move(ids)};
  batch_.push_back(std::move(op));
}

void StoreTraffic::ask(task::StoreQuestion question, Replied replied) {
  const std::uint64_t token = next_question_++;
  send();
  if (!is_owed()) heard_ = sys::now();
  auto reply = stores_.ask(token, std::move(question));
  if (!reply) {
    questions_.emplace(token, std::move(replied));
    return;
  }
  loop_.post(sys::Priority::normal,
             [replied = std::move(replied), reply = std::move(*reply)]() mutable {
               replied(std::move(reply));
             });
}

// What is done at once may lead to more. Completions are told in their order, also when one of them
// leads to a question and so to this again.
void StoreTraffic::send() {
  const bool nested = std::exchange(sending_, true);
  while (!batch_.empty() || (!nested && !done_at_once_.empty())) {
    if (!batch_.empty()) {
      if (!is_owed()) heard_ = sys::now();
      under_way_ += batch_.size();
      std::vector<task::StoreOp> next;
      next.reserve(std::exchange(last_batch_, batch_.size()));  // as many as before, perhaps
      auto at_once = stores_.submit(std::exchange(batch_, std::move(next)));
      under_way_ -= at_once.size();
      if (!nested && done_at_once_.empty()) {
        for (task::StoreDone& one : at_once)
          done(std::move(one));
        continue;
      }
      std::move(at_once.begin(), at_once.end(), std::back_inserter(done_at_once_));
    }
    if (nested) continue;
    for (std::size_t count = done_at_once_.size(); count > 0; --count) {
      task::StoreDone one = std::move(done_at_once_.front());
      done_at_once_.pop_front();
      done(std::move(one));
    }
  }
  sending_ = nested;
}

void StoreTraffic::end_turn() {
  send();
  if (stores_.is_to_forget() && forget_.deadline().is_never())
    forget_.arm(sys::now() + kForgetPause);
}

// What it leads to, and is done at once, is told after what has been done before it.
void StoreTraffic::on_output() {
  heard_ = sys::now();
  const bool nested = std::exchange(sending_, true);
  for (auto& output : stores_.take()) {
    if (auto* one = std::get_if<task::StoreDone>(&output)) {
      --under_way_;
      done(std::move(*one));
    } else if (const auto* synced = std::get_if<task::StoreSynced>(&output)) {
      host_.synced(*synced);
    } else {
      auto& [token, reply] = std::get<task::StoreReplied>(output);
      replied(token, std::move(reply));
    }
  }
  sending_ = nested;
}

void StoreTraffic::done(task::StoreDone&& done) {
  for (const std::string& file : done.files)
    parts_.remove_result(file);
  host_.done(std::move(done));
}

void StoreTraffic::replied(std::uint64_t token, task::StoreReply reply) {
  for (const std::string& file : reply.files)
    parts_.remove_result(file);
  const auto question = questions_.find(token);
  if (question == questions_.end()) return;
  const Replied replied = std::move(question->second);
  questions_.erase(question);
  replied(std::move(reply));
}

}  // namespace mtd::broker
