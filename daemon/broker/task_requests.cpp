#include "daemon/broker/task_requests.h"

#include <algorithm>
#include <utility>

namespace mtd::broker {
namespace {

constexpr std::size_t kCancelledAtOnce = 1024;

// What waits under a ticket, and no more after that; empty: nothing does.
template <typename Done>
Done take(std::unordered_map<std::uint64_t, Done>& waiting, task::Ticket ticket) {
  const auto found = waiting.find(ticket.value);
  if (found == waiting.end()) return {};
  Done done = std::move(found->second);
  waiting.erase(found);
  return done;
}

}  // namespace

struct TaskRequests::Pieces {
  QueueRunner& queue;
  task::Cancel request;  // without its ids
  std::vector<task::TaskId> ids;
  std::size_t at = 0;  // of the ids: the next one
  task::CancelAnswered sum;
  CancelDone done;
};

void TaskRequests::cancel(QueueRunner& queue, task::Cancel cancel, CancelDone done) {
  if (cancel.whole_pool || !cancel.group.empty()) {
    std::vector<task::TaskId> ids = queue.queue().ids(cancel.group);
    ids.insert(ids.end(), cancel.ids.begin(), cancel.ids.end());
    cancel.whole_pool = false;
    cancel.group.clear();
    cancel.ids.clear();
    return cancel_more(std::make_shared<Pieces>(
        Pieces{queue, std::move(cancel), std::move(ids), 0, {}, std::move(done)}));
  }
  cancel.ticket = new_ticket();
  cancels_[cancel.ticket.value] = std::move(done);
  queue.apply(std::move(cancel));
}

void TaskRequests::cancel_more(const std::shared_ptr<Pieces>& job) {
  const std::size_t end = std::min(job->at + kCancelledAtOnce, job->ids.size());
  task::Cancel piece = job->request;
  piece.ticket = new_ticket();
  for (; job->at < end; ++job->at)
    piece.ids.push_back(job->ids[job->at]);
  cancels_[piece.ticket.value] = [this, job](const task::CancelAnswered& answered) {
    job->sum.cancelled += answered.cancelled;
    job->sum.asked += answered.asked;
    job->sum.unknown += answered.unknown;
    if (job->at == job->ids.size()) return job->done(job->sum);
    loop_.post(sys::Priority::client, [this, job] { cancel_more(job); });
  };
  job->queue.apply(std::move(piece));
}

void TaskRequests::revive(QueueRunner& queue, task::TaskId id, ReviveDone done) {
  const task::Ticket ticket = new_ticket();
  revives_[ticket.value] = std::move(done);
  queue.apply(task::Revive{ticket, id});
}

void TaskRequests::answer(const task::CancelAnswered& answered) {
  if (const CancelDone done = take(cancels_, answered.ticket)) done(answered);
}

void TaskRequests::answer(const task::Revived& revived) {
  if (const ReviveDone done = take(revives_, revived.ticket)) done(true);
}

bool TaskRequests::answer(const task::Refused& refused) {
  if (const ReviveDone revive = take(revives_, refused.ticket)) {
    revive(false);
    return true;
  }
  // The store is broken: nothing is cancelled.
  const CancelDone cancelled = take(cancels_, refused.ticket);
  if (!cancelled) return false;
  task::CancelAnswered none;
  none.ticket = refused.ticket;
  cancelled(none);
  return true;
}

}  // namespace mtd::broker
