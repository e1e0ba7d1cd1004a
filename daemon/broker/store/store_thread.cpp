#include "daemon/broker/store/store_thread.h"

#include <utility>

namespace mtd::task {
namespace {

// Tasks, not operations: a put may hold thousands.
std::size_t weight(const StoreOp& op) {
  const auto* put = std::get_if<PutOp>(&op.what);
  return put != nullptr ? put->tasks.size() : 1;
}

}  // namespace

Result<std::unique_ptr<StoreThread>> StoreThread::start(std::unique_ptr<TaskStore> store) {
  auto wake = sys::WakeFd::make();
  if (!wake) return wake.error();
  std::unique_ptr<StoreThread> self(new StoreThread(std::move(store), std::move(*wake)));
  auto thread = sys::Thread::start("mtd-store", [raw = self.get()] { raw->run(); });
  if (!thread) return thread.error();
  self->thread_ = std::move(*thread);
  return self;
}

StoreThread::~StoreThread() {
  {
    const std::lock_guard hold(lock_);
    ending_ = true;
  }
  has_input_.notify_one();
}

void StoreThread::submit(std::vector<StoreOp> ops) {
  if (ops.empty()) return;
  {
    const std::lock_guard hold(lock_);
    for (StoreOp& op : ops)
      input_.emplace_back(std::move(op));
  }
  has_input_.notify_one();
}

void StoreThread::ask(std::uint64_t token, StoreQuestion question) {
  {
    const std::lock_guard hold(lock_);
    input_.emplace_back(Question{token, std::move(question)});
  }
  has_input_.notify_one();
}

std::vector<StoreOutput> StoreThread::take() {
  const std::lock_guard hold(lock_);
  wake_.clear();
  return std::exchange(output_, {});
}

void StoreThread::run() {
  std::unique_lock hold(lock_);
  for (;;) {
    has_input_.wait(hold, [this] { return ending_ || !input_.empty(); });
    if (input_.empty()) return;
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
    if (!batch.empty()) {
      hold.unlock();
      work(std::move(batch));
    } else {
      Question question = std::move(std::get<Question>(input_.front()));
      input_.pop_front();
      hold.unlock();
      work(std::move(question));
    }
    hold.lock();
  }
}

void StoreThread::work(std::vector<StoreOp> batch) {
  std::vector<StoreOutput> output;
  output.reserve(batch.size());
  for (StoreDone& done : store_->commit(std::move(batch)))
    output.emplace_back(std::move(done));
  put_out(std::move(output));
  store_->tidy();
}

void StoreThread::work(Question question) {
  std::vector<StoreOutput> output;
  output.emplace_back(StoreReplied{question.token, store_->answer(question.question)});
  put_out(std::move(output));
}

void StoreThread::put_out(std::vector<StoreOutput> output) {
  {
    const std::lock_guard hold(lock_);
    for (StoreOutput& one : output)
      output_.push_back(std::move(one));
  }
  wake_.signal();
}

}  // namespace mtd::task
