#include "daemon/broker/queue_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/escape.h"
#include "daemon/broker/task_message.h"

namespace mtd::broker {
namespace {

task::DeathCause cause_of(EndCause cause) {
  switch (cause) {
    case EndCause::exit:
      return task::DeathCause::exit;
    case EndCause::signal:
      return task::DeathCause::signal;
    case EndCause::oom:
      return task::DeathCause::oom;
    case EndCause::stopped:
      return task::DeathCause::stopped;
    case EndCause::vanished:
      return task::DeathCause::vanished;
  }
  return task::DeathCause::vanished;
}

KillCause cause_of(task::KillCause cause) {
  switch (cause) {
    case task::KillCause::task_timeout:
      return KillCause::task_timeout;
    case task::KillCause::cancelled:
      return KillCause::cancelled;
    case task::KillCause::protocol:
      return KillCause::protocol;
  }
  return KillCause::protocol;
}

}  // namespace

QueueRunner::QueueRunner(QueueHost& host, Places places, QueueSettings settings,
                         task::Recovered recovered)
    : host_(host),
      places_(places),
      settings_(std::move(settings)),
      queue_(settings_.spec, std::move(recovered), host.now()),
      board_(places_.board.queue(settings_.id)),
      workers_(places_.link, places_.board, settings_.id),
      answers_(places_.parts) {
  workers_.report_loads(settings_.reports_load);
}

void QueueRunner::apply(task::Event&& event) {
  if (applying_) {
    pending_.push_back(std::move(event));
    return;
  }
  applying_ = true;
  step(std::move(event));
  while (!pending_.empty()) {
    task::Event next = std::move(pending_.front());
    pending_.pop_front();
    step(std::move(next));
  }
  body_.reset();
  applying_ = false;
  host_.changed(*this);
}

void QueueRunner::operate(task::Event&& event) {
  apply(std::move(event));
  if (board_ == nullptr) return;
  const task::QueueView view = queue_.view();
  board_->paused = view.paused ? 1 : 0;
  board_->closed = view.closed ? 1 : 0;
}

void QueueRunner::step(task::Event&& event) {
  body_.reset();
  if (const auto* done = std::get_if<task::StoreDone>(&event)) body_ = done->body;
  queue_.step(std::move(event), host_.now(), host_.entropy(), actions_);
  for (task::Action& action : actions_)
    std::visit([this](auto& each) { perform(each); }, action);
  actions_.clear();
}

void QueueRunner::reconfigure(QueueSettings settings) {
  if (settings.id != settings_.id) {  // the pool left the configuration and came back
    leave_board();
    workers_.set_pool(settings.id);
  }
  settings_ = std::move(settings);
  enter_board();
  workers_.report_loads(settings_.reports_load);
  apply(task::Reconfigure{settings_.spec});
}

void QueueRunner::leave_board() {
  places_.board.clear(settings_.id);
  board_ = nullptr;
}

void QueueRunner::enter_board() {
  if (board_ == nullptr) board_ = places_.board.queue(settings_.id);
}

void QueueRunner::recall() {
  if (board_ == nullptr) return;
  const bool paused = board_->paused != 0, closed = board_->closed != 0;
  if (paused) apply(task::Pause{});
  if (closed) apply(task::Close{});
}

void QueueRunner::show() {
  workers_.flush();
  workers_.tell_loads();
  const task::QueueView view = queue_.view();
  if (synced_) workers_.tell_backlog(view.waiting > 0 && !view.paused);
  if (board_ == nullptr) return;
  board_->waiting = view.waiting + view.entering;
  board_->scheduled = view.scheduled;
  board_->running = view.running;
  board_->busy = workers_.busy();
  board_->done = view.done;
  board_->failed = view.failed_attempts;
  board_->crashed = view.crashed_attempts;
  board_->dead = view.dead;
  board_->refused = view.refused_puts;
  board_->oldest_ns = view.oldest_waiting.is_never() ? 0 : view.oldest_waiting.ns;
}

// ---- the supervisor's facts ----

void QueueRunner::attach(const Attach& attach, UniqueFd socket) {
  const task::WorkerKey key{attach.worker.slot, attach.worker.incarnation};
  if (QueueWorker* known = workers_.find(key)) {
    workers_.attached_again(*known);
    host_.changed(*this);
    return;
  }
  if (!socket) {
    spdlog::error("pool {}: the socket of worker {} did not arrive; it gets no tasks", pool(),
                  key.slot);
    return;
  }
  QueueWorker& worker = workers_.add(key);
  if (worker.board == nullptr)
    spdlog::warn("the task board is full: status does not show what worker {}/{} does", pool(),
                 key.slot);
  WorkerSocket::Handlers handlers;
  handlers.frame = [this, key](std::string_view line, std::optional<std::string_view> body) {
    return on_frame(key, line, body);
  };
  handlers.fault = [this, key](const Error& why) { on_fault(key, why); };
  handlers.closed = [this, key] { on_closed(key); };
  worker.socket = std::make_unique<WorkerSocket>(places_.loop, std::move(socket), places_.scratch,
                                                 std::move(handlers));
  const std::uint64_t given = worker.board != nullptr ? worker.board->given : 0;
  const std::uint32_t credit = worker.board != nullptr ? worker.board->credit : 0;
  apply(task::WorkerAttached{key, attach.task_limit, given});
  if (credit != 0) {  // it has said so to a former broker
    on_ready(worker, ReadyFrame{credit, worker.board->capabilities});
  }
  const auto started = worker.socket->start();
  if (!started) spdlog::error("pool {}: worker {}: {}", pool(), key.slot, started.error().message);
  worker.socket->read();
}

void QueueRunner::drain(const Drain& drain) {
  const task::WorkerKey key{drain.worker.slot, drain.worker.incarnation};
  const QueueWorker* worker = workers_.find(key);
  if (worker == nullptr || worker->drained) {
    places_.link.send(Drained{{}, drain.worker});
    return;
  }
  std::optional<Duration> deadline;
  if (drain.deadline >= 0) deadline = Duration::nanoseconds(drain.deadline);
  apply(task::WorkerDrains{key, deadline});
}

void QueueRunner::end(const Ended& ended) {
  lose({ended.worker.slot, ended.worker.incarnation}, {cause_of(ended.cause), ended.number});
  places_.link.send(EndedTaken{{}, ended.worker});
}

// What it had answered counts: the socket is read to its end first.
void QueueRunner::lose(const task::WorkerKey& key, const task::Death& death) {
  const QueueWorker* worker = workers_.find(key);
  if (worker == nullptr) {
    apply(task::WorkerLost{key, death});
    return;
  }
  worker->socket->read();
  const bool misbehaved = worker->condemned == KillCause::protocol;
  apply(task::WorkerLost{key, misbehaved ? task::Death{task::DeathCause::protocol, 0} : death});
  places_.parts.remove_unless([this](task::TaskId id, std::uint32_t attempt) {
    return !queue_.find(id) || queue_.is_running(id, attempt);  // another queue's, or at work
  });
  answers_.forget(key);
  // An answer that the store has not taken yet is the model's; nobody reads this socket any more.
  workers_.remove(key);
}

void QueueRunner::end_sync() {
  for (const task::WorkerKey& key : workers_.untold())
    lose(key, {task::DeathCause::vanished, 0});
  if (!std::exchange(synced_, true)) apply(task::AllAttached{});
  host_.changed(*this);
}

// ---- frames ----

void QueueRunner::on_fault(const task::WorkerKey& key, const Error& why) {
  spdlog::error("pool {}: worker {} speaks no mtd-task/1 ({}): it is killed", pool(), key.slot,
                escape_for_terminal(why.message));
  workers_.condemn(key, KillCause::protocol);
  apply(task::WorkerMisbehaved{key});
}

void QueueRunner::on_closed(const task::WorkerKey& key) {
  if (workers_.find(key) != nullptr) apply(task::WorkerClosed{key});
}

Result<std::optional<AnswerOf>> QueueRunner::on_frame(const task::WorkerKey& key,
                                                      std::string_view line,
                                                      std::optional<std::string_view> body) {
  using Settled = std::optional<AnswerOf>;
  QueueWorker* worker = workers_.find(key);
  if (worker == nullptr) return Settled();
  auto frame = parse_worker_frame(line);
  if (!frame) return Error{frame.error().message + " in " + std::string(line.substr(0, 200))};
  if (const auto* ready = std::get_if<ReadyFrame>(&*frame)) {
    if (worker->ready) return Error{"\"ready\" is said once"};
    on_ready(*worker, *ready);
    return Settled();
  }
  if (!worker->ready) return Error{"the first frame is \"ready\""};
  if (const auto* answer = std::get_if<AnswerFrame>(&*frame)) {
    const auto taken = on_answer(key, *answer, body);
    return taken ? Result<Settled>(*taken) : Result<Settled>(taken.error());
  }
  if (const auto* part = std::get_if<PartFrame>(&*frame)) {
    if (const auto taken = on_part(key, *part, body); !taken) return taken.error();
  } else if (const auto* progress = std::get_if<ProgressFrame>(&*frame)) {
    host_.progress(progress->id, progress->members);
  } else if (const auto* extend = std::get_if<ExtendFrame>(&*frame)) {
    apply(task::TaskExtended{key, extend->id, 0, extend->by});
  } else if (const auto* credit = std::get_if<CreditFrame>(&*frame)) {
    if (worker->board != nullptr) worker->board->credit = credit->credit;
    apply(task::WorkerReady{key, credit->credit});
  } else if (std::holds_alternative<RecycleFrame>(*frame)) {
    apply(task::WorkerRecycles{key});
  }
  return Settled();
}

void QueueRunner::on_ready(QueueWorker& worker, const ReadyFrame& frame) {
  worker.capabilities = frame.capabilities;
  const std::uint32_t credit = frame.credit != 0 ? frame.credit : queue_.spec().credit;
  if (worker.board != nullptr) {
    worker.board->capabilities = frame.capabilities;
    worker.board->credit = credit;
  }
  workers_.is_ready(worker);
  apply(task::WorkerReady{worker.key, credit});
}

AnswerAssembly::Rules QueueRunner::answer_rules() const {
  return {pool(), settings_.max_result, queue_.spec().durability == task::Durability::memory};
}

Result<void> QueueRunner::on_part(const task::WorkerKey& key, const PartFrame& frame,
                                  std::optional<std::string_view> body) {
  if (!body) return Error{"a part without a body"};
  if (!queue_.holds(key, frame.id, frame.attempt)) return {};  // of an attempt that is over
  return answers_.add_part(key, frame, *body, answer_rules());
}

// Of an attempt that is over nothing is kept, and its answer is refused whatever it holds.
Result<AnswerOf> QueueRunner::on_answer(const task::WorkerKey& key, const AnswerFrame& frame,
                                        std::optional<std::string_view> body) {
  auto answer = queue_.holds(key, frame.id, frame.attempt)
                    ? answers_.make(key, frame, body, answer_rules())
                    : AnswerAssembly::make_of_nothing(frame);
  if (!answer) return answer.error();
  if (frame.done) {
    apply(
        task::TaskDone{key, frame.id, frame.attempt, std::move(answer->content), answer->too_big});
  } else {
    task::TaskFailed failed;
    failed.worker = key;
    failed.id = frame.id;
    failed.attempt = frame.attempt;
    failed.answer = std::move(answer->content);
    failed.retry = frame.retry;
    failed.delay = frame.delay;
    failed.crash = frame.crash;
    failed.death = frame.death;
    apply(std::move(failed));
  }
  return AnswerOf{frame.id, frame.attempt};
}

// ---- actions ----

void QueueRunner::perform(task::Submit& action) {
  host_.submit(*this, std::move(action.op));
}

void QueueRunner::perform(const task::SendTask& action) {
  if (action.again) answers_.inherit(action.worker, {action.id, action.attempt});
  if (body_ && !action.again) {
    send_task(action, *body_);
    return;
  }
  task::FindTask question;
  question.id = action.id;
  question.with_body = true;
  host_.ask(question, [this, action](const task::StoreReply& reply) {
    if (reply.tasks.empty() || !reply.tasks.front().body) return;
    if (queue_.holds(action.worker, action.id, action.attempt))
      send_task(action, *reply.tasks.front().body);
    host_.changed(*this);
  });
}

void QueueRunner::send_task(const task::SendTask& action, const task::TaskBody& body) {
  QueueWorker* worker = workers_.find(action.worker);
  if (worker == nullptr) return;
  if (worker->board != nullptr) {
    if (!action.again) ++worker->board->given;
    worker->board->current = action.id.value;
  }
  const bool takes_bodies = (worker->capabilities & kTakesBodies) != 0;
  for (std::string& frame : task_frames_of(action, body, takes_bodies))
    workers_.send(*worker, std::move(frame));
}

void QueueRunner::perform(const task::SendCancel& action) {
  if (QueueWorker* worker = workers_.find(action.worker))
    workers_.send(*worker, cancel_frame(action));
}

void QueueRunner::perform(const task::SendDrain& action) {
  if (QueueWorker* worker = workers_.find(action.worker))
    workers_.send(*worker, drain_frame(action));
}

void QueueRunner::perform(const task::KillWorker& action) {
  workers_.condemn(action.worker, cause_of(action.cause));
}

void QueueRunner::perform(const task::WorkerLoad& action) {
  if (QueueWorker* worker = workers_.find(action.worker))
    workers_.set_running(*worker, action.running);
}

void QueueRunner::perform(const task::WorkerSpent& action) {
  workers_.is_spent(action.worker);
}

void QueueRunner::perform(const task::WorkerDrained& action) {
  workers_.is_drained(action.worker);
}

void QueueRunner::perform(const task::AnswerSettled& action) {
  if (QueueWorker* worker = workers_.find(action.worker))
    workers_.settle(*worker, {action.id, action.attempt}, action.taken);
  answers_.settled({action.id, action.attempt}, action.taken);
}

}  // namespace mtd::broker
