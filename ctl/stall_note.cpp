#include "ctl/stall_note.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/json_access.h"

namespace mtd::ctl {
namespace {

constexpr Duration kConnect = Duration::milliseconds(20);
constexpr Duration kRest = Duration::seconds(1);  // of an answer of which a part has come
constexpr std::int64_t kParts = 3;                // of the patience, until mtd is asked
constexpr std::int64_t kSlowParts = 6;            // … and until an answer counts as not given

Json row_of(const Json& answer, std::string_view name, const std::string& pool) {
  for (const Json& row : array(answer, "pools")) {
    if (text(row, name) == pool) return row;
  }
  return Json();
}

}  // namespace

Instant monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::at_ns(std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
}

std::string stall_reason(std::string_view pool, const Json& queue, const Json& status) {
  const std::string name = "pool " + escape_for_terminal(pool);
  const std::string word = escape_for_terminal(pool);
  if (!queue.is_object()) return {};  // it is refused in a moment
  if (is_true(queue, "paused"))
    return name + " is paused; 'mtctl pool resume " + word + "' lets it hand out tasks";
  if (integer(queue, "busy").value_or(0) > 0) return {};
  if (!status.is_object()) {
    if (integer(queue, "workers").value_or(0) > 0) return {};
    return "no worker of " + name + " is ready, and mtd's supervisor does not say why";
  }
  const std::string state = text(status, "state");
  if (state == "frozen") return name + " is frozen; 'mtctl thaw " + word + "' lets it go on";
  if (state == "stopped" || state == "stopping" || state == "completed")
    return name + " is " + state + "; 'mtctl start " + word + "' starts it";
  if (integer(status, "ready").value_or(0) > 0) return {};
  if (integer(status, "want").value_or(1) == 0)
    return name + " has no workers; 'mtctl scale " + word + " N' gives it some";
  return "no worker of " + name + " is ready; 'mtctl why " + word + "' says why";
}

void StallNote::Question::ask(const std::vector<std::string>& paths, const std::string& method,
                              const Json& parameters) {
  client.reset();
  answer.reset();
  failure.clear();
  for (const std::string& path : paths) {
    Result<varlink::Client> found = varlink::Client::connect(path, kConnect);
    if (!found) {
      // A listener without room is one that is there.
      if (failure.empty() || varlink::failure_of(found.error()) == varlink::Failure::timed_out)
        failure = escape_for_terminal(found.error().message);
      continue;
    }
    if (found->call_more(method, parameters)) client = *std::move(found);
    return;
  }
}

// When it can be read.
void StallNote::Question::take() {
  client->set_timeout(kRest);
  Result<varlink::Reply> reply = client->receive();
  client.reset();
  if (!reply) {
    failure = escape_for_terminal(reply.error().message);
  } else if (reply->is_error()) {
    answer = Json::object();
    failure = safe_text(reply->parameters(), "message");
  } else {
    answer = (*std::move(reply)).take_parameters();
  }
}

StallNote::StallNote(Context& context, Duration patience, StalledAt where,
                     std::function<void()> before)
    : context_(context),
      patience_(patience),
      where_(std::move(where)),
      before_(std::move(before)),
      answered_(monotonic_now()),
      next_(answered_ + pause()) {}

Duration StallNote::pause() const {
  return patience_.is_infinite() ? Duration::infinite()
                                 : Duration::milliseconds(patience_.count_ms() / kParts + 1);
}

void StallNote::watch_pool(std::string pool) {
  pool_ = std::move(pool);
  task_ = 0;
}

void StallNote::watch_task(std::int64_t id) {
  if (task_ == id) return;
  task_ = id;
  pool_.clear();
}

void StallNote::heard() {
  queue_ = Question();
  status_ = Question();
  asked_ = Instant::never();
  answered_ = monotonic_now();
  next_ = answered_ + pause();
}

void StallNote::add_to(std::vector<pollfd>& entries) const {
  entries.push_back({queue_.fd(), POLLIN, 0});
  entries.push_back({status_.fd(), POLLIN, 0});
}

std::int64_t StallNote::due_in_ms(Instant deadline) const {
  Instant due = next_;
  if (is_asking()) due = asked_ + Duration::milliseconds(patience_.count_ms() / kSlowParts + 1);
  due = std::min(due, deadline);
  if (due.is_never()) return -1;
  const std::int64_t left = (due.count_ns() - monotonic_now().count_ns()) / 1'000'000;
  return std::max<std::int64_t>(0, left + 1);
}

void StallNote::ask() {
  asked_ = monotonic_now();
  if (pool_.empty() && task_ != 0) {
    queue_.ask(where_.tasks, "io.mtd.Tasks.Show", {{"id", task_}});
    status_ = Question();
    return;
  }
  if (pool_.empty()) return queue_.ask(where_.tasks, "io.mtd.Tasks.Stats", Json::object());
  queue_.ask(where_.tasks, "io.mtd.Tasks.Stats", {{"pool", pool_}});
  status_.ask(where_.manager, "Status", {{"select", Json::array({pool_})}});
}

void StallNote::look() {
  const auto take = [](Question& question) {
    pollfd entry{question.fd(), POLLIN, 0};
    if (question.is_open() && ::poll(&entry, 1, 0) > 0) question.take();
  };
  take(queue_);
  take(status_);
  if (queue_.answer) answered_ = monotonic_now();
  if (!is_asking()) {
    if (monotonic_now() >= next_) ask();
    return;
  }
  const bool over = due_in_ms() == 0;
  if ((queue_.is_open() || status_.is_open()) && !over) return;
  conclude();
}

void StallNote::conclude() {
  asked_ = Instant::never();
  next_ = monotonic_now() + pause();
  const Question queue = std::exchange(queue_, Question());
  const Question status = std::exchange(status_, Question());
  if (!queue.answer) {
    return tell("mtd does not answer for its tasks" +
                (queue.failure.empty() ? std::string() : " (" + queue.failure + ")") +
                "; 'mtctl status' and its log say why");
  }
  if (!queue.failure.empty()) return tell(queue.failure);
  if (pool_.empty() && task_ != 0) {
    const Json& task = member(*queue.answer, "task");
    if (text(task, "state") != "waiting") return;
    pool_ = text(task, "pool");
    return ask();
  }
  tell(stall_reason(pool_, row_of(*queue.answer, "pool", pool_),
                    status.answer ? row_of(*status.answer, "name", pool_) : Json()));
}

void StallNote::tell(const std::string& reason) {
  if (reason == told_) return;
  told_ = reason;
  if (reason.empty() || context_.options().quiet) return;
  if (before_) before_();
  const std::string shown = where_.is_private ? reason.substr(0, reason.find(';')) : reason;
  context_.err.line("mtctl: waiting: " + shown);
}

bool StallNote::is_unanswered() const {
  return monotonic_now() >= answered_ + patience_;
}

}  // namespace mtd::ctl
