#include "daemon/broker/store/store_thread.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "daemon/sys/clock.h"

namespace mtd::task {
namespace {

// A little longer than a worker that has nothing to do needs to say so.
constexpr std::chrono::microseconds kMoment{250};
constexpr std::uint32_t kMostMisses = 8;  // then 2⁸ syncs begin at once
// What is put by the loop itself, and how long it may take.
constexpr std::uint64_t kSmallBytes = 16 * 1024;
constexpr Duration kSlow = Duration::milliseconds(1);
constexpr std::uint32_t kMostSlow = 10;  // then 2¹⁰ puts are handed over

// Tasks, not operations: a put may hold thousands.
std::size_t weight(const StoreOp& op) {
  const auto* put = std::get_if<PutOp>(&op.what);
  return put != nullptr ? put->tasks.size() : 1;
}

bool is_small_put(const StoreOp& op) {
  const auto* put = std::get_if<PutOp>(&op.what);
  if (put == nullptr || put->tasks.size() != 1) return false;
  const BodyRef& body = put->tasks.front().body;
  return !body || body->bytes() <= kSmallBytes;
}

}  // namespace

bool is_unsynced_put(const StoreDone& done) {
  return std::holds_alternative<PutOp>(done.op.what) && needs_sync(done.op) &&
         done.status == StoreStatus::committed;
}

Result<std::unique_ptr<StoreThread>> StoreThread::start(std::unique_ptr<TaskStore> store) {
  auto wake = sys::WakeFd::make();
  if (!wake) return wake.error();
  std::unique_ptr<StoreThread> self(new StoreThread(std::move(store), std::move(*wake)));
  for (sys::Thread& place : self->threads_) {
    auto thread = sys::Thread::start("mtd-store", [raw = self.get()] { raw->run(); });
    if (!thread) return thread.error();
    place = std::move(*thread);
  }
  return self;
}

StoreThread::~StoreThread() {
  {
    const std::lock_guard hold(lock_);
    ending_ = true;
  }
  has_input_.notify_all();
  has_more_.notify_all();
}

void StoreThread::submit(std::vector<StoreOp> ops) {
  if (ops.empty()) return;
  bool is_waited_for = false;
  {
    const std::lock_guard hold(lock_);
    for (StoreOp& op : ops)
      input_.emplace_back(std::move(op));
    if (!may_write()) return;  // whoever writes looks again
    is_waited_for = waits_;
  }
  call_for_input(is_waited_for);
}

// Who waits for more to sync is the first to have it; the other one sleeps on.
void StoreThread::call_for_input(bool is_waited_for) {
  (is_waited_for ? has_more_ : has_input_).notify_one();
}

void StoreThread::ask(std::uint64_t token, StoreQuestion question) {
  bool is_waited_for = false;
  {
    const std::lock_guard hold(lock_);
    input_.emplace_back(Question{token, std::move(question)});
    if (!may_write()) return;
    is_waited_for = waits_;
  }
  call_for_input(is_waited_for);
}

std::vector<StoreOutput> StoreThread::take() {
  const std::lock_guard hold(lock_);
  wake_.clear();
  return std::exchange(output_, {});
}

void StoreThread::run() {
  std::unique_lock hold(lock_);
  for (;;) {
    has_input_.wait(hold,
                    [this] { return may_write() || may_sync() || (ending_ && input_.empty()); });
    if (may_write()) {
      write(hold);
    } else if (!may_sync()) {
      break;
    }
    if (syncing_ || unsynced_.empty() || wait_for_more(hold)) continue;
    if (may_write()) has_input_.notify_one();  // the other one goes on meanwhile
    sync_all(hold);
  }
  has_input_.notify_one();
}

std::optional<StoreDone> StoreThread::put_at_once(StoreOp& op) {
  if (!needs_sync(op) || !is_small_put(op)) return std::nullopt;
  if (handed_over_ > 0) {
    --handed_over_;
    return std::nullopt;
  }
  std::unique_lock hold(lock_);
  if (!is_at_rest() || !store_->writes_at_once()) return std::nullopt;
  writing_ = true;
  hold.unlock();
  const Instant began = sys::now();
  std::vector<StoreOp> batch;
  batch.push_back(std::move(op));
  std::vector<StoreDone> done = store_->write(std::move(batch));
  const bool is_slow = sys::now().since(began) > kSlow;
  slow_ = is_slow ? std::min(slow_ + 1, kMostSlow) : 0;
  handed_over_ = is_slow ? (1U << slow_) - 1 : 0;
  hold.lock();
  writing_ = false;
  if (is_unsynced_put(done.front())) unsynced_.insert(unsynced_.end(), StoreSynced{1, true});
  sync_owed_ = true;
  return std::move(done.front());
}

void StoreThread::begin_sync() {
  if (!std::exchange(sync_owed_, false)) return;
  {
    const std::lock_guard hold(lock_);
    if (!may_sync()) return;  // whoever writes, syncs or waits sees to it
  }
  has_input_.notify_one();
}

std::vector<StoreOp> StoreThread::next_batch() {
  std::vector<StoreOp> batch;
  std::size_t tasks = 0;
  while (!input_.empty()) {
    auto* op = std::get_if<StoreOp>(&input_.front());
    if (op == nullptr) break;
    tasks += weight(*op);
    if (tasks > kMostInCommit && !batch.empty()) break;
    batch.push_back(std::move(*op));
    input_.pop_front();
  }
  return batch;
}

// Only puts wait for the sync: their tasks may end soon.
bool StoreThread::is_worth_waiting() const {
  const auto is_put = [](const auto& one) { return std::holds_alternative<StoreSynced>(one); };
  return !waited_ && !ending_ && std::all_of(unsynced_.begin(), unsynced_.end(), is_put);
}

// True: something has come, or somebody else has begun the sync.
bool StoreThread::wait_for_more(std::unique_lock<std::mutex>& hold) {
  if (!is_worth_waiting()) return false;
  if (no_wait_before_ > 0) {
    --no_wait_before_;
    return false;
  }
  waited_ = waits_ = true;
  const bool came = has_more_.wait_for(
      hold, kMoment, [this] { return may_write() || syncing_ || unsynced_.empty() || ending_; });
  waits_ = false;
  misses_ = came ? 0 : std::min(misses_ + 1, kMostMisses);
  no_wait_before_ = came ? 0 : (1U << misses_) - 1;
  return came && !ending_;
}

// The loop is woken without the lock, or the first thing that it did would be to wait for it.
void StoreThread::put_out(std::unique_lock<std::mutex>& hold, std::vector<StoreOutput> output) {
  const bool is_awake = !output_.empty();
  std::move(output.begin(), output.end(), std::back_inserter(output_));
  if (is_awake) return;
  hold.unlock();
  wake_.signal();
  hold.lock();
}

// A batch, or a question. What it says of a task may be told no sooner than what came before it.
void StoreThread::write(std::unique_lock<std::mutex>& hold) {
  writing_ = true;
  std::vector<StoreOutput> now, later;
  std::vector<StoreOp> batch = next_batch();
  if (!batch.empty()) {
    hold.unlock();
    std::uint32_t puts = 0;
    for (StoreDone& done : store_->write(std::move(batch))) {
      if (is_unsynced_put(done)) ++puts;
      (waits_for_sync(done.op) ? later : now).emplace_back(std::move(done));
    }
    if (puts > 0) later.insert(later.begin(), StoreSynced{puts, true});
  } else {
    Question question = std::move(std::get<Question>(input_.front()));
    input_.pop_front();
    hold.unlock();
    later.emplace_back(StoreReplied{question.token, store_->answer(question.question)});
  }
  hold.lock();
  // Whoever tidies makes wait what is written after it, and what he is to sync.
  const bool tidies = later.empty() || syncing_;
  std::move(later.begin(), later.end(), std::back_inserter(unsynced_));
  if (!now.empty()) put_out(hold, std::move(now));
  if (tidies) {
    hold.unlock();
    store_->tidy();
    hold.lock();
  }
  writing_ = false;
}

std::vector<StoreOutput> StoreThread::synced(std::vector<StoreOutput> output) {
  const auto asks = [](const StoreOutput& one) {
    return std::holds_alternative<StoreReplied>(one);
  };
  if (std::all_of(output.begin(), output.end(), asks) || store_->sync()) return output;
  for (StoreOutput& one : output) {
    if (auto* done = std::get_if<StoreDone>(&one)) *done = failed_completion(std::move(*done));
    if (auto* puts = std::get_if<StoreSynced>(&one)) puts->kept = false;
  }
  return output;
}

void StoreThread::sync_all(std::unique_lock<std::mutex>& hold) {
  syncing_ = true;
  waited_ = false;
  while (!unsynced_.empty()) {
    std::vector<StoreOutput> output = std::exchange(unsynced_, {});
    hold.unlock();
    output = synced(std::move(output));
    hold.lock();
    put_out(hold, std::move(output));
  }
  syncing_ = false;
  if (writing_) return;  // whoever writes sees to it
  writing_ = true;
  hold.unlock();
  store_->tidy();
  hold.lock();
  writing_ = false;
}

}  // namespace mtd::task
