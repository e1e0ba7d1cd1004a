#include "daemon/broker/queue_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/escape.h"
#include "common/json_writer.h"
#include "common/size.h"
#include "daemon/broker/task_message.h"

namespace mtd::broker {

QueueRunner::QueueRunner(QueueHost& host, Places places, QueueSettings settings,
                         task::Recovered recovered)
    : host_(host),
      places_(places),
      settings_(std::move(settings)),
      queue_(settings_.spec, std::move(recovered), host.now()),
      board_(places_.board.queue(settings_.id)) {}

WorkerRef QueueRunner::ref_of(const task::WorkerKey& key) const {
  return {settings_.id, key.slot, key.incarnation};
}

QueueRunner::Worker* QueueRunner::find(const task::WorkerKey& key) {
  const auto found = workers_.find(key);
  return found == workers_.end() ? nullptr : &found->second;
}

void QueueRunner::apply(task::Event event) {
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

void QueueRunner::operate(task::Event event) {
  apply(std::move(event));
  if (board_ == nullptr) return;
  const task::QueueView view = queue_.view();
  board_->paused = view.paused ? 1 : 0;
  board_->closed = view.closed ? 1 : 0;
}

void QueueRunner::step(task::Event event) {
  body_.reset();
  if (const auto* done = std::get_if<task::StoreDone>(&event)) body_ = done->body;
  auto actions = queue_.step(std::move(event), host_.now(), host_.entropy());
  for (auto& action : actions)
    std::visit([this](auto& each) { perform(each); }, action);
}

void QueueRunner::reconfigure(QueueSettings settings) {
  told_backlog_.reset();
  if (settings.id != settings_.id) {  // the pool left the configuration and came back
    places_.board.clear(settings_.id);
    board_ = places_.board.queue(settings.id);
  }
  const bool asked = settings_.reports_load;
  settings_ = std::move(settings);
  if (settings_.reports_load && !asked) {
    for (auto& [key, worker] : workers_) {
      worker.told_busy.reset();
      note_load(key, worker);
    }
  }
  apply(task::Reconfigure{settings_.spec});
}

void QueueRunner::recall() {
  if (board_ == nullptr) return;
  const bool paused = board_->paused != 0, closed = board_->closed != 0;
  if (paused) apply(task::Pause{});
  if (closed) apply(task::Close{});
}

void QueueRunner::show() {
  flush_workers();
  tell_loads();
  const task::QueueView view = queue_.view();
  tell_backlog(view);
  if (board_ == nullptr) return;
  board_->waiting = view.waiting + view.entering;
  board_->scheduled = view.scheduled;
  board_->running = view.running;
  board_->busy = busy_;
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
  if (Worker* known = find(key)) {
    known->told = true;
    tell_again(key, *known);
    return;
  }
  if (!socket) {
    spdlog::error("pool {}: the socket of worker {} did not arrive; it gets no tasks", pool(),
                  key.slot);
    return;
  }
  Worker& worker = workers_[key];
  worker.told = true;
  worker.board = places_.board.worker(attach.worker);
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
    on_ready(key, worker, ReadyFrame{credit, worker.board->capabilities});
  }
  const auto started = worker.socket->start();
  if (!started) spdlog::error("pool {}: worker {}: {}", pool(), key.slot, started.error().message);
  worker.socket->read();
}

void QueueRunner::tell_again(const task::WorkerKey& key, Worker& worker) {
  const WorkerRef ref = ref_of(key);
  if (worker.ready) places_.link.send(Ready{{}, ref});
  if (worker.spent) places_.link.send(Spent{{}, ref});
  if (worker.drained) places_.link.send(Drained{{}, ref});
  if (worker.condemned) places_.link.send(Condemned{{}, ref, *worker.condemned, 0});
  worker.told_busy.reset();
  note_load(key, worker);
  host_.changed(*this);
}

// Told at the end of the turn: a worker that goes from one task to the next is not told as idle.
void QueueRunner::note_load(const task::WorkerKey& key, const Worker& worker) {
  if (settings_.reports_load && worker.ready) loads_.insert(key);
}

void QueueRunner::send(const task::WorkerKey& key, Worker& worker, std::string frame) {
  worker.socket->send(std::move(frame));
  flush_soon(key, worker);
}

void QueueRunner::flush_soon(const task::WorkerKey& key, Worker& worker) {
  if (std::exchange(worker.unflushed, true)) return;
  unflushed_.push_back(key);
  host_.changed(*this);
}

void QueueRunner::flush_workers() {
  for (const task::WorkerKey& key : unflushed_) {
    Worker* worker = find(key);
    if (worker == nullptr) continue;
    worker->unflushed = false;
    worker->socket->flush();
  }
  unflushed_.clear();
}

void QueueRunner::tell_loads() {
  for (const task::WorkerKey& key : std::exchange(loads_, {})) {
    Worker* worker = find(key);
    if (worker == nullptr || worker->told_busy == worker->busy) continue;
    worker->told_busy = worker->busy;
    places_.link.send(Load{{}, ref_of(key), worker->busy ? 1U : 0U, 0});
  }
}

// A pool that may have no worker at all gets its first one for the tasks that wait.
void QueueRunner::tell_backlog(const task::QueueView& view) {
  if (!settings_.reports_load || !synced_) return;
  const bool waits = view.waiting > 0 && !view.paused && workers_.empty();
  if (told_backlog_ == waits) return;
  told_backlog_ = waits;
  places_.link.send(Backlog{{}, settings_.id, waits ? 1U : 0U});
}

void QueueRunner::drain(const Drain& drain) {
  const task::WorkerKey key{drain.worker.slot, drain.worker.incarnation};
  Worker* worker = find(key);
  if (worker == nullptr || worker->drained) {
    places_.link.send(Drained{{}, drain.worker});
    return;
  }
  std::optional<Duration> deadline;
  if (drain.deadline >= 0) deadline = Duration::nanoseconds(drain.deadline);
  apply(task::WorkerDrains{key, deadline});
}

void QueueRunner::end(const Ended& ended) {
  task::Death death;
  death.number = ended.number;
  switch (ended.cause) {
    case EndCause::exit:
      death.cause = task::DeathCause::exit;
      break;
    case EndCause::signal:
      death.cause = task::DeathCause::signal;
      break;
    case EndCause::oom:
      death.cause = task::DeathCause::oom;
      break;
    case EndCause::stopped:
      death.cause = task::DeathCause::stopped;
      break;
    case EndCause::vanished:
      death.cause = task::DeathCause::vanished;
      break;
  }
  lose({ended.worker.slot, ended.worker.incarnation}, death);
  places_.link.send(EndedTaken{{}, ended.worker});
}

// What it had answered counts: the socket is read to its end first.
void QueueRunner::lose(const task::WorkerKey& key, const task::Death& death) {
  const auto found = workers_.find(key);
  if (found == workers_.end()) {
    apply(task::WorkerLost{key, death});
    return;
  }
  found->second.socket->read();
  const bool misbehaved = found->second.condemned == KillCause::protocol;
  apply(task::WorkerLost{key, misbehaved ? task::Death{task::DeathCause::protocol, 0} : death});
  places_.board.clear(ref_of(key));
  places_.parts.remove_unless([this](task::TaskId id, std::uint32_t attempt) {
    return !queue_.find(id) || queue_.is_running(id, attempt);  // another queue's, or at work
  });
  for (const Parts& parts : found->second.parts)
    places_.parts.remove(parts.of.id, parts.of.attempt);
  // An answer that the store has not taken yet is the model's; nobody reads this socket any more.
  if (Worker* worker = find(key)) set_busy(*worker, false);
  workers_.erase(key);
}

void QueueRunner::begin_sync() {
  for (auto& entry : workers_)
    entry.second.told = false;
  told_backlog_.reset();
}

void QueueRunner::end_sync() {
  std::vector<task::WorkerKey> gone;
  for (const auto& [key, worker] : workers_) {
    if (!worker.told) gone.push_back(key);
  }
  for (const auto& key : gone)
    lose(key, {task::DeathCause::vanished, 0});
  if (!std::exchange(synced_, true)) apply(task::AllAttached{});
  host_.changed(*this);
}

void QueueRunner::condemn(const task::WorkerKey& key, KillCause cause) {
  Worker* worker = find(key);
  if (worker == nullptr || worker->condemned) return;
  worker->condemned = cause;
  places_.link.send(Condemned{{}, ref_of(key), cause, 0});
}

// ---- frames ----

void QueueRunner::on_fault(const task::WorkerKey& key, const Error& why) {
  spdlog::error("pool {}: worker {} speaks no mtd-task/1 ({}): it is killed", pool(), key.slot,
                escape_for_terminal(why.message));
  condemn(key, KillCause::protocol);
  apply(task::WorkerMisbehaved{key});
}

void QueueRunner::on_closed(const task::WorkerKey& key) {
  if (find(key) != nullptr) apply(task::WorkerClosed{key});
}

Result<std::optional<AnswerOf>> QueueRunner::on_frame(const task::WorkerKey& key,
                                                      std::string_view line,
                                                      std::optional<std::string_view> body) {
  using Settled = std::optional<AnswerOf>;
  Worker* worker = find(key);
  if (worker == nullptr) return Settled();
  auto frame = parse_worker_frame(line);
  if (!frame) return Error{frame.error().message + " in " + std::string(line.substr(0, 200))};
  if (const auto* ready = std::get_if<ReadyFrame>(&*frame)) {
    if (worker->ready) return Error{"\"ready\" is said once"};
    on_ready(key, *worker, *ready);
    return Settled();
  }
  if (!worker->ready) return Error{"the first frame is \"ready\""};
  if (const auto* answer = std::get_if<AnswerFrame>(&*frame))
    return handle(key, *worker, *answer, body);
  if (const auto* part = std::get_if<PartFrame>(&*frame)) {
    if (const auto taken = on_part(key, *worker, *part, body); !taken) return taken.error();
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

void QueueRunner::on_ready(const task::WorkerKey& key, Worker& worker, const ReadyFrame& frame) {
  worker.ready = true;
  worker.capabilities = frame.capabilities;
  const std::uint32_t credit = frame.credit != 0 ? frame.credit : queue_.spec().credit;
  if (worker.board != nullptr) {
    worker.board->capabilities = frame.capabilities;
    worker.board->credit = credit;
  }
  places_.link.send(Ready{{}, ref_of(key)});
  note_load(key, worker);
  apply(task::WorkerReady{key, credit});
}

// Perhaps a former broker has taken some, or all of them.
std::vector<QueueRunner::Parts>::iterator QueueRunner::parts_of(Worker& worker,
                                                                const AnswerOf& of) {
  const auto known = std::find_if(worker.parts.begin(), worker.parts.end(),
                                  [&](const Parts& parts) { return parts.of == of; });
  if (known != worker.parts.end()) return known;
  Parts parts;
  parts.of = of;
  const PartSpool::Kept kept = places_.parts.kept(of.id, of.attempt);
  parts.is_filed = kept.bytes > settings_.max_result;
  if (!parts.is_filed && kept.parts > 0) {
    auto pieces = places_.parts.read(of.id, of.attempt);
    if (pieces) parts.pieces = std::move(*pieces);
    if (!pieces) parts.lost = pieces.error().message;
  }
  parts.count = kept.parts;
  parts.bytes = kept.bytes;
  worker.parts.push_back(std::move(parts));
  return worker.parts.end() - 1;
}

// Its frame leaves the socket before the answer is on record: a kill -9 must not lose it. And what
// is larger than the store keeps is nowhere but in the file.
void QueueRunner::keep(Parts& parts, std::string_view body) {
  const auto& [id, attempt] = parts.of;
  const bool is_large = parts.bytes > settings_.max_result;
  Result<void> kept;
  if (parts.bytes > kMaxResult) {
    kept = Error{"a result has at most " + format_size({kMaxResult})};
  } else if (parts.is_filed) {
    kept = places_.parts.add(id, attempt, parts.count - 1, body);
  } else {
    parts.pieces.emplace_back(body);
    if (!is_large && queue_.spec().durability == task::Durability::memory) return;
    const std::uint32_t there = places_.parts.kept(id, attempt).parts;
    for (std::uint32_t i = there; kept && i < parts.count; ++i)
      kept = places_.parts.add(id, attempt, i, parts.pieces[i]);
    if (kept && is_large) {
      parts.is_filed = true;
      parts.pieces.clear();
    }
  }
  if (kept) return;
  if (is_large) {
    parts.lost = kept.error().message;
    parts.pieces.clear();
    places_.parts.remove(id, attempt);
  } else if (!std::exchange(spool_failed_, true)) {
    spdlog::warn("pool {}: {}: an answer in parts would not survive a kill of the broker now",
                 pool(), kept.error().message);
  }
}

Result<void> QueueRunner::on_part(const task::WorkerKey& key, Worker& worker,
                                  const PartFrame& frame, std::optional<std::string_view> body) {
  if (!body) return Error{"a part without a body"};
  const AnswerOf of{frame.id, frame.attempt};
  if (!queue_.holds(key, of.id, of.attempt)) return {};  // of an attempt that is over
  Parts& parts = *parts_of(worker, of);
  if (worker.parts.size() > kMaxCredit) return Error{"parts of too many answers at once"};
  if (frame.part > parts.count) {
    return Error{"part " + std::to_string(frame.part) + " comes before part " +
                 std::to_string(parts.count)};
  }
  if (frame.part < parts.count) return {};  // again
  ++parts.count;
  parts.bytes += body->size();
  if (parts.lost.empty()) keep(parts, *body);
  return {};
}

QueueRunner::Data QueueRunner::take_parts(Parts& parts) {
  Data data;
  data.bytes = parts.bytes;
  data.lost = std::move(parts.lost);
  if (!data.lost.empty()) return data;
  if (parts.is_filed) data.file = places_.parts.make_result(parts.of.id, parts.of.attempt);
  for (const std::string& piece : parts.pieces)
    data.text += piece;
  return data;
}

Result<QueueRunner::Data> QueueRunner::take_data(Worker& worker, const AnswerFrame& frame,
                                                 std::optional<std::string_view> body) {
  const AnswerOf of{frame.id, frame.attempt};
  Data data;
  if (frame.parts != 0) {
    if (body) return Error{"\"parts\" and \"body\" in one frame"};
    const auto found = parts_of(worker, of);
    if (found->count != frame.parts) {
      return Error{"\"parts\" says " + std::to_string(frame.parts) + ", but " +
                   std::to_string(found->count) + " came"};
    }
    data = take_parts(*found);
    worker.parts.erase(found);
  } else if (body && body->size() > settings_.max_result) {
    Parts parts;
    parts.of = of;
    parts.count = 1;
    parts.bytes = body->size();
    places_.parts.remove(of.id, of.attempt);
    keep(parts, *body);
    data = take_parts(parts);
  } else if (body) {
    data.text = *body;
    data.bytes = body->size();
  }
  return data;
}

Result<std::optional<AnswerOf>> QueueRunner::handle(const task::WorkerKey& key, Worker& worker,
                                                    const AnswerFrame& frame,
                                                    std::optional<std::string_view> body) {
  const AnswerOf of{frame.id, frame.attempt};
  // Of an attempt that is over nothing is kept, and its answer is refused whatever it holds.
  auto data =
      queue_.holds(key, of.id, of.attempt) ? take_data(worker, frame, body) : Result<Data>(Data());
  if (!data) return data.error();
  auto answer = std::make_shared<task::Answer>();
  answer->result = frame.result;
  answer->data = std::move(data->text);
  answer->error = frame.error;
  const bool too_big = !data->lost.empty();
  if (!frame.done && !data->file.empty()) {  // a failure has its error; more is not kept
    places_.parts.remove_result(data->file);
  } else if (!data->file.empty()) {
    answer->file = data->file;
    filed_[{of.id.value, of.attempt}] = data->file;
  }
  if (too_big && frame.done) {
    answer->result.clear();
    answer->error = "{\"type\":\"ResultTooBig\",\"message\":";
    append_json_string(answer->error,
                       "the result has " + std::to_string(data->bytes) +
                           " bytes and cannot be kept: " + escape_for_terminal(data->lost));
    answer->error += '}';
  }
  if (frame.done) {
    apply(task::TaskDone{key, frame.id, frame.attempt, std::move(answer), too_big});
  } else {
    task::TaskFailed failed;
    failed.worker = key;
    failed.id = frame.id;
    failed.attempt = frame.attempt;
    failed.answer = std::move(answer);
    failed.retry = frame.retry;
    failed.delay = frame.delay;
    failed.crash = frame.crash;
    failed.death = frame.death;
    apply(std::move(failed));
  }
  return std::optional(of);
}

// ---- actions ----

void QueueRunner::perform(task::Submit& action) {
  host_.submit(*this, std::move(action.op));
}

void QueueRunner::perform(const task::SendTask& action) {
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
  });
}

void QueueRunner::send_task(const task::SendTask& action, const task::TaskBody& body) {
  Worker* worker = find(action.worker);
  if (worker == nullptr) return;
  if (worker->board != nullptr) {
    if (!action.again) ++worker->board->given;
    worker->board->current = action.id.value;
  }
  const bool takes_bodies = (worker->capabilities & kTakesBodies) != 0;
  for (std::string& frame : task_frames_of(action, body, takes_bodies))
    send(action.worker, *worker, std::move(frame));
}

void QueueRunner::perform(const task::SendCancel& action) {
  if (Worker* worker = find(action.worker)) send(action.worker, *worker, cancel_frame(action));
}

void QueueRunner::perform(const task::SendDrain& action) {
  if (Worker* worker = find(action.worker)) send(action.worker, *worker, drain_frame(action));
}

void QueueRunner::perform(const task::KillWorker& action) {
  switch (action.cause) {
    case task::KillCause::task_timeout:
      return condemn(action.worker, KillCause::task_timeout);
    case task::KillCause::cancelled:
      return condemn(action.worker, KillCause::cancelled);
    case task::KillCause::protocol:
      return condemn(action.worker, KillCause::protocol);
  }
}

void QueueRunner::set_busy(Worker& worker, bool busy) {
  if (worker.busy == busy) return;
  worker.busy = busy;
  busy ? ++busy_ : --busy_;
}

void QueueRunner::perform(const task::WorkerLoad& action) {
  Worker* worker = find(action.worker);
  if (worker == nullptr) return;
  set_busy(*worker, action.running > 0);
  if (worker->board != nullptr) {
    worker->board->running = action.running;
    if (action.running == 0) worker->board->current = 0;
  }
  note_load(action.worker, *worker);
}

void QueueRunner::perform(const task::WorkerSpent& action) {
  if (Worker* worker = find(action.worker)) worker->spent = true;
  places_.link.send(Spent{{}, ref_of(action.worker)});
}

void QueueRunner::perform(const task::WorkerDrained& action) {
  if (Worker* worker = find(action.worker)) worker->drained = true;
  places_.link.send(Drained{{}, ref_of(action.worker)});
}

void QueueRunner::perform(const task::AnswerSettled& action) {
  if (Worker* worker = find(action.worker)) {
    if (worker->board != nullptr && action.taken) ++worker->board->answered;
    worker->socket->settle({action.id, action.attempt});
    flush_soon(action.worker, *worker);
  }
  places_.parts.remove(action.id, action.attempt);
  if (filed_.empty()) return;
  const auto filed = filed_.extract({action.id.value, action.attempt});
  if (filed && !action.taken) places_.parts.remove_result(filed.mapped());
}

}  // namespace mtd::broker
