#include <fcntl.h>
#include <mtd/worker.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "client/cpp/frame_socket.h"
#include "common/flat_json.h"
#include "common/task_frames.h"
#include "common/varlink_json.h"

namespace mtd {
namespace {

using nlohmann::json;
using Key = std::pair<std::int64_t, std::int64_t>;  // id, attempt

constexpr std::size_t kMaxBody = 1u << 30;  // an own limit far above mtd's
constexpr std::size_t kRemembered = 1024;   // tasks that were had, see is_again()
constexpr std::size_t kMaxText = 16u * 1024;

std::int64_t number(const json& object, const char* name, std::int64_t otherwise) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>()
                                                             : otherwise;
}

std::string text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

json error_of(const Failed& failed) {
  json error{{"type", failed.type}, {"message", failed.message.substr(0, kMaxText)}};
  if (!failed.trace.empty()) error["trace"] = failed.trace.substr(0, kMaxText);
  return error;
}

std::string head_of(const char* kind, const Task& task) {
  return "{\"t\":\"" + std::string(kind) + "\",\"id\":" + std::to_string(task.id()) +
         ",\"attempt\":" + std::to_string(task.attempt());
}

std::string fail_text(const Task& task, const Failed& failed) {
  std::string line = head_of("fail", task) + ",\"error\":" + varlink::to_text(error_of(failed)) +
                     (failed.retry ? ",\"retry\":true" : ",\"retry\":false");
  if (failed.delay_ms) line += ",\"delay_ms\":" + std::to_string(*failed.delay_ms);
  if (failed.crash) line += ",\"crash\":true";
  if (failed.signal) line += ",\"signal\":" + std::to_string(*failed.signal);
  if (failed.exit) line += ",\"exit\":" + std::to_string(*failed.exit);
  return line + "}";
}

}  // namespace

struct Worker::State {
  client::FrameSocket socket;
  std::deque<Task> tasks;                         // that nobody has taken yet
  std::map<std::int64_t, std::string> cancelled;  // id → reason
  std::deque<Cancelled> newly_cancelled;
  std::set<std::int64_t> open;  // given out, not answered
  std::map<Key, std::map<std::int64_t, std::string>> parts;
  std::deque<Key> had;
  bool drained = false;
  std::optional<Error> failure;  // of what mtd sent; nothing is believed after it

  Result<void> take_all();
  Result<void> attend(const client::Message& message);
  bool attend_plain(const client::Message& message);
  Result<void> take_task(const json& object, std::optional<std::string> body);
  Result<std::optional<std::string>> body_of(const json& object, const client::Message& message);
  bool is_again(bool again, Key key);
  void wait();
};

Result<void> Worker::State::take_all() {
  while (!failure) {
    const Result<std::optional<client::Message>> message = socket.take();
    if (message && !*message) return {};
    const Result<void> done = message ? attend(**message) : Result<void>(message.error());
    if (!done) failure = done.error();
  }
  return *failure;
}

// A task as most are: plain, and in one piece. False: it is something else.
bool Worker::State::attend_plain(const client::Message& message) {
  const auto object = FlatObject::parse(message.line);
  if (!object) return false;
  Task task;
  bool is_task = false, again = false;
  for (const auto& [name, value] : *object) {
    using Kind = FlatValue::Kind;
    if (name == "t" && value.kind == Kind::text) {
      is_task = value.text() == "task";
      if (!is_task) return false;
    } else if (name == "id" && value.kind == Kind::integer) {
      task.id_ = value.integer;
    } else if (name == "attempt" && value.kind == Kind::integer) {
      task.attempt_ = value.integer;
    } else if (name == "name" && value.kind == Kind::text) {
      task.name_ = value.text();
    } else if (name == "timeout_ms" && value.kind == Kind::integer) {
      if (value.integer > 0) task.timeout_ms_ = value.integer;
    } else if (name == "again" && value.kind == Kind::boolean) {
      again = value.integer != 0;
    } else if (name == "args" && value.kind == Kind::list) {
      task.arguments_ = value.json;
      for_each_element(value, [&task](const FlatValue& one) {
        task.words_.emplace_back(one.kind == Kind::text ? one.text() : one.json);
      });
    } else if (name != "body") {
      return false;
    }
  }
  if (!is_task || task.id_ <= 0 || task.attempt_ <= 0 || task.arguments_.empty()) return false;
  if (is_again(again, {task.id_, task.attempt_})) return true;
  task.body_ = message.body;
  tasks.push_back(std::move(task));
  return true;
}

Result<void> Worker::State::attend(const client::Message& message) {
  if (attend_plain(message)) return {};
  Result<json> object = varlink::parse_json(message.line);
  if (!object) return object.error().with_context("mtd sent what is no message");
  if (!object->is_object()) return Error{"mtd sent what is no message: not a JSON object"};
  const std::string kind = text(*object, "t");
  if (kind == "part") {
    const Key key{number(*object, "id", 0), number(*object, "attempt", 0)};
    if (message.body) parts[key][number(*object, "part", 0)] = *message.body;
  } else if (kind == "task") {
    Result<std::optional<std::string>> body = body_of(*object, message);
    if (!body) return body.error();
    return take_task(*object, *std::move(body));
  } else if (kind == "cancel") {
    const std::int64_t id = number(*object, "id", 0);
    const std::string reason = text(*object, "reason");
    if (open.count(id) != 0 && cancelled.emplace(id, reason).second) {
      newly_cancelled.push_back({id, reason, number(*object, "grace_ms", 0)});
    }
  } else if (kind == "ping") {
    socket.send("{\"t\":\"beat\"}\n");
    socket.flush();
  } else if (kind == "drain") {
    drained = true;
  }
  return {};
}

Result<std::optional<std::string>> Worker::State::body_of(const json& object,
                                                          const client::Message& message) {
  if (!object.contains("parts")) return message.body;
  const Key key{number(object, "id", 0), number(object, "attempt", 0)};
  const auto pieces = parts.extract(key);
  const std::int64_t count = number(object, "parts", -1);
  if (pieces.empty() || static_cast<std::int64_t>(pieces.mapped().size()) != count) {
    return Error{"mtd sent a task without all the parts of its body"};
  }
  std::string whole;
  for (const auto& piece : pieces.mapped())
    whole += piece.second;
  return std::optional(std::move(whole));
}

// mtd asks again when it does not know whether its question arrived; it is answered once.
bool Worker::State::is_again(bool again, Key key) {
  if (again) {
    for (const Key& old : had) {
      if (old == key) return true;
    }
  }
  had.push_back(key);
  if (had.size() > kRemembered) had.pop_front();
  return false;
}

Result<void> Worker::State::take_task(const json& object, std::optional<std::string> body) {
  Task task;
  task.id_ = number(object, "id", 0);
  task.attempt_ = number(object, "attempt", 0);
  if (task.id_ <= 0 || task.attempt_ <= 0) return Error{"mtd sent a task without its number"};
  if (is_again(object.value("again", false), {task.id_, task.attempt_})) return {};
  task.name_ = text(object, "name");
  const auto arguments = object.find("args");
  task.arguments_ = arguments != object.end() ? varlink::to_text(*arguments) : "[]";
  if (arguments != object.end() && arguments->is_array()) {
    for (const json& one : *arguments)
      task.words_.push_back(one.is_string() ? one.get<std::string>() : varlink::to_text(one));
  }
  task.body_ = std::move(body);
  if (const std::int64_t limit = number(object, "timeout_ms", 0); limit > 0)
    task.timeout_ms_ = limit;
  tasks.push_back(std::move(task));
  return {};
}

void Worker::State::wait() {
  socket.receive_some();
  (void)take_all().has_value();  // what makes no sense is told by next()
}

Result<Worker> Worker::from_environment() {
  const char* value = std::getenv("MTD_TASK_FD");
  if (value == nullptr) {
    return Error{
        "MTD_TASK_FD is not set: this program is a worker, which mtd starts in a pool with "
        "\"tasks\""};
  }
  int fd = -1;
  int type = 0;
  socklen_t size = sizeof type;
  const char* const end = value + std::strlen(value);
  if (std::from_chars(value, end, fd).ptr != end || fd < 0 ||
      ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
    return Error{"MTD_TASK_FD=" + std::string(value) + " names no stream socket"};
  }
  return adopt(fd);
}

Worker Worker::adopt(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  auto state = std::make_unique<State>();
  state->socket = client::FrameSocket(UniqueFd(fd), kMaxBody);
  return Worker(std::move(state));
}

Worker::Worker(std::unique_ptr<State> state) : state_(std::move(state)) {}
Worker::Worker(Worker&&) noexcept = default;
Worker& Worker::operator=(Worker&&) noexcept = default;
Worker::~Worker() = default;

int Worker::fd() const {
  return state_->socket.fd();
}

bool Worker::is_over() const {
  return state_->tasks.empty() && (state_->socket.is_ended() || state_->drained);
}

Result<void> Worker::ready(int credit) {
  state_->socket.send("{\"t\":\"ready\",\"proto\":1,\"credit\":" + std::to_string(credit) +
                      ",\"capabilities\":[\"body\",\"cancel\",\"progress\"]}\n");
  state_->socket.flush_all();
  return {};
}

Result<std::optional<Task>> Worker::next() {
  if (state_->tasks.empty()) {
    state_->socket.flush();
    state_->socket.receive();
    if (const Result<void> taken = state_->take_all(); !taken) return taken.error();
  }
  if (state_->tasks.empty()) return std::optional<Task>();
  std::optional<Task> task(std::move(state_->tasks.front()));
  state_->tasks.pop_front();
  task->worker_ = this;
  state_->open.insert(task->id_);
  return task;
}

std::optional<Worker::Cancelled> Worker::next_cancelled() {
  if (state_->newly_cancelled.empty()) return std::nullopt;
  std::optional<Cancelled> next(std::move(state_->newly_cancelled.front()));
  state_->newly_cancelled.pop_front();
  return next;
}

Result<void> Worker::answer(const Task& task, const Answer& answer) {
  state_->open.erase(task.id_);
  state_->cancelled.erase(task.id_);
  if (const auto* failed = std::get_if<Failed>(&answer)) {
    state_->socket.send(task_frames::frame(fail_text(task, *failed)));
  } else {
    const Done& done = std::get<Done>(answer);
    std::string line = head_of("done", task);
    if (!done.body) line += ",\"result\":" + (done.result.empty() ? "null" : done.result);
    line += "}";
    if (line.size() >= task_frames::kMaxLine) {
      return this->answer(task, Failed{"a result of " + std::to_string(line.size()) +
                                           " bytes of JSON is too long; large results are bytes",
                                       "TooLong",
                                       {},
                                       false,
                                       {},
                                       false,
                                       {},
                                       {}});
    }
    state_->socket.send(task_frames::worker_message(line, task.id_, task.attempt_, done.body));
  }
  state_->socket.flush_all();
  return {};
}

void Worker::recycle() {
  state_->socket.send("{\"t\":\"recycle\"}\n");
  state_->socket.flush_all();
}

namespace {

Answer call(const std::function<Answer(Task&)>& handler, Task& task) {
  try {
    return handler(task);
  } catch (const std::exception& error) {
    Failed failed;
    failed.message = error.what();
    failed.type = "exception";
    return failed;
  } catch (...) {
    Failed failed;
    failed.message = "something that is no std::exception was thrown";
    failed.type = "exception";
    return failed;
  }
}

}  // namespace

Result<void> Worker::run(const std::function<Answer(Task&)>& handler) {
  if (const Result<void> said = ready(); !said) return said;
  for (;;) {
    if (state_->tasks.empty() && !is_over()) state_->wait();
    Result<std::optional<Task>> task = next();
    if (!task) return task.error();
    if (!*task) {
      if (is_over()) return {};
      continue;
    }
    (*task)->worker_ = this;
    const Answer answer = call(handler, **task);
    if (const Result<void> told = this->answer(**task, answer); !told) return told;
  }
}

std::string Task::cancelled() {
  Worker::State& state = *worker_->state_;
  state.socket.receive();
  (void)state.take_all().has_value();  // what makes no sense is told by next()
  const auto found = state.cancelled.find(id_);
  return found == state.cancelled.end() ? std::string() : found->second;
}

void Task::progress(std::int64_t done, std::optional<std::int64_t> total, std::string_view text) {
  json message{{"done", done}};
  if (total) message["total"] = *total;
  if (!text.empty()) message["text"] = text.substr(0, kMaxText);
  const std::string members = varlink::to_text(message);
  worker_->state_->socket.send("{\"t\":\"progress\",\"id\":" + std::to_string(id_) + "," +
                               members.substr(1) + "\n");
  worker_->state_->socket.flush_all();
}

void Task::extend(std::int64_t ms) {
  worker_->state_->socket.send("{\"t\":\"extend\",\"id\":" + std::to_string(id_) +
                               ",\"ms\":" + std::to_string(ms) + "}\n");
  worker_->state_->socket.flush_all();
}

}  // namespace mtd
