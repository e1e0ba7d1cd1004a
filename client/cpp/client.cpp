#include <mtd/client.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <map>

#include <nlohmann/json.hpp>

#include "client/cpp/open_stream.h"
#include "common/flat_json.h"
#include "common/json_writer.h"
#include "common/task_frames.h"
#include "common/varlink_json.h"

namespace mtd {
namespace {

using nlohmann::json;

constexpr std::size_t kMostBacklog = 1u << 20;     // bytes that wait for room in the socket
constexpr std::size_t kMostGathered = 64u * 1024;  // bytes that wait for the next turn
constexpr std::size_t kMostFields = task_frames::kMaxLine - 512;

std::string random_name() {
  std::uint64_t bytes[2] = {};
  if (::getentropy(bytes, sizeof bytes) != 0) bytes[0] = static_cast<std::uint64_t>(::getpid());
  char text[2 * 16 + 1] = {};
  char* at = std::to_chars(text, text + 16, bytes[0], 16).ptr;
  at = std::to_chars(at, at + 16, bytes[1], 16).ptr;
  return "c-" + std::string(text, at);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::optional<std::int64_t> integer(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

std::string text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The members of a put frame but seq, uid and body.
std::string members_of(const Put& put, bool attached) {
  std::string text = "\"args\":";
  if (put.arguments.empty()) {
    text += '[';
    for (const std::string& word : put.words) {
      if (text.back() != '[') text += ',';
      append_json_string(text, word);
    }
    text += ']';
  } else {
    text += put.arguments;
  }
  const auto add_text = [&text](const char* name, const std::string& value) {
    if (value.empty()) return;
    text.append(",\"").append(name).append("\":");
    append_json_string(text, value);
  };
  const auto add = [&text](const char* name, const std::optional<std::int64_t>& value) {
    if (value) text.append(",\"").append(name).append("\":").append(std::to_string(*value));
  };
  text += ",\"pool\":";
  append_json_string(text, put.pool);
  text += attached ? ",\"watch\":true,\"attached\":true" : ",\"watch\":true";
  add_text("name", put.name);
  add_text("group", put.group);
  add_text("unique", put.unique);
  add("priority", put.priority);
  add("delay_ms", put.delay_ms);
  add("at_ms", put.at_ms);
  add("timeout_ms", put.timeout_ms);
  add("expires_ms", put.expires_ms);
  add("max_attempts", put.max_attempts);
  add("block_ms", put.block_ms);
  return text + "}";
}

End end_of(const json& object, std::optional<std::string> body) {
  End end;
  end.id = integer(object, "id").value_or(0);
  end.state = text(object, "state");
  end.reason = text(object, "reason");
  if (const auto result = object.find("result"); result != object.end()) {
    end.result = varlink::to_text(*result);
  }
  end.body = std::move(body);
  if (const auto error = object.find("error"); error != object.end() && error->is_object()) {
    end.error = {text(*error, "type"), text(*error, "message"), text(*error, "trace")};
  }
  end.attempts = integer(object, "attempts").value_or(0);
  if (const auto signal = integer(object, "signal")) end.signal = static_cast<int>(*signal);
  if (const auto exit = integer(object, "exit")) end.exit = static_cast<int>(*exit);
  return end;
}

// The same of a plain object, in which there is no error.
End end_of(const FlatObject& object, std::optional<std::string> body) {
  const auto number = [&object](const char* name) -> std::optional<std::int64_t> {
    const FlatValue* found = object.find(name);
    if (found == nullptr || found->kind != FlatValue::Kind::integer) return std::nullopt;
    return found->integer;
  };
  const auto word = [&object](const char* name) {
    const FlatValue* found = object.find(name);
    return std::string(found != nullptr && found->kind == FlatValue::Kind::text ? found->text()
                                                                                : "");
  };
  End end;
  end.id = number("id").value_or(0);
  end.state = word("state");
  end.reason = word("reason");
  if (const FlatValue* result = object.find("result")) end.result = result->json;
  end.body = std::move(body);
  end.attempts = number("attempts").value_or(0);
  if (const auto signal = number("signal")) end.signal = static_cast<int>(*signal);
  if (const auto exit = number("exit")) end.exit = static_cast<int>(*exit);
  return end;
}

End refusal(std::string code, std::string message) {
  End end;
  end.state = "refused";
  end.reason = std::move(code);
  end.error.message = std::move(message);
  return end;
}

}  // namespace

struct Future::State {
  Client::State* client = nullptr;  // null: it has gone, or this has ended
  std::string members;              // of the put frame, after seq: `"uid":…,…`; empty: a watch
  std::optional<std::string> body;
  std::string uid;
  std::int64_t id = 0;
  std::int64_t seq = 0;  // 0: not with mtd
  bool cancel = false;
  std::string parts;  // of the result, that have come
  std::int64_t part_count = 0;
  std::optional<End> end;
  std::optional<Error> lost;
  std::function<void(const End&)> then;
};

struct Client::State {
  ClientOptions options;
  client::FrameSocket socket;
  std::size_t max_body = 0;
  std::string name = random_name();
  std::int64_t numbers = 0;
  std::int64_t sequence = 0;
  std::deque<std::shared_ptr<Future::State>> pending;               // not sent yet
  std::map<std::int64_t, std::shared_ptr<Future::State>> with_mtd;  // by seq
  std::optional<Error> failure;                                     // for good
  Instant away_since = Instant::never();
  Instant try_again = Instant::never();
  std::int64_t pause_ms = 0;
  // While mtd is away: the next stream. While tasks are with it and nothing comes: a question
  // whether it still answers, since at our own stream it may be waiting for room.
  std::optional<client::Opening> opening;
  Instant heard = Instant::never();
  Instant asked = Instant::never();
  bool turning = false;   // what is put meanwhile leaves at the end of the turn
  std::string forgotten;  // frames that go with the next ones, or before the next wait

  void enqueue(const std::shared_ptr<Future::State>& future);
  void send_pending();
  void send_forgotten();
  void send_cancel(Future::State& future);
  void cancel(Future::State& future);
  Result<void> take_all();
  Result<void> take(client::Message& message);
  bool take_plain(client::Message& message);
  void take_end(std::shared_ptr<Future::State> future, End end);
  void finish(const std::shared_ptr<Future::State>& future, End end);
  void fail(const Error& error);
  void lose();
  void connect_again();
  void look_after_connection();
  void answered(client::OpenedStream stream);
  [[nodiscard]] Duration patience() const { return Duration::milliseconds(options.patience_ms); }
  [[nodiscard]] bool is_away() const { return !away_since.is_never(); }
  [[nodiscard]] Instant next_look() const;
  Result<void> turn(std::vector<pollfd>& others, std::int64_t timeout_ms);
  bool wait(std::vector<pollfd>& others, std::int64_t timeout_ms);
  Result<void> attend();
  std::string new_uid() { return name + "-" + std::to_string(++numbers); }
};

// ---- Future
// ---------------------------------------------------------------------------------------

bool Future::is_ready() const {
  return state_->end.has_value() || state_->lost.has_value();
}

std::int64_t Future::id() const {
  return state_->id;
}

void Future::cancel() {
  if (!is_ready() && state_->client != nullptr) state_->client->cancel(*state_);
}

Result<End> Future::get(std::int64_t timeout_ms) {
  const Instant deadline =
      timeout_ms < 0 ? Instant::never() : client::now() + Duration::milliseconds(timeout_ms);
  std::vector<pollfd> none;
  while (!is_ready()) {
    if (state_->client == nullptr) return Error{"the client was closed before the task ended"};
    std::int64_t left = -1;
    if (!deadline.is_never()) {
      left = (deadline.count_ns() - client::now().count_ns()) / 1'000'000;
      if (left < 0) return Error{"the task has not ended within the time", ETIMEDOUT};
    }
    if (const Result<void> turned = state_->client->turn(none, left < 0 ? -1 : left + 1); !turned) {
      return turned.error();
    }
  }
  if (state_->lost) return *state_->lost;
  return *state_->end;
}

// ---- Client
// ---------------------------------------------------------------------------------------

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Client::~Client() {
  if (!state_) return;
  state_->send_forgotten();
  state_->socket.flush();
  for (const auto& future : state_->pending)
    future->client = nullptr;
  for (const auto& [seq, future] : state_->with_mtd)
    future->client = nullptr;
}

Result<Client> Client::connect(ClientOptions options) {
  auto state = std::make_unique<State>();
  if (options.paths.empty()) options.paths = task_socket_paths();
  Result<client::OpenedStream> stream =
      client::open_stream(options.paths, Duration::milliseconds(options.patience_ms));
  if (!stream) return stream.error();
  state->options = std::move(options);
  state->socket = std::move(stream->socket);
  state->socket.limit_waits(state->patience());
  state->max_body = stream->max_body;
  state->heard = client::now();
  return Client(std::move(state));
}

Future Client::submit(Put put, std::function<void(const End&)> then) {
  Future future;
  future.state_ = std::make_shared<Future::State>();
  Future::State& state = *future.state_;
  state.client = state_.get();
  state.then = std::move(then);
  state.uid = put.uid.empty() ? state_->new_uid() : put.uid;
  state.members = members_of(put, state_->options.attached);
  state.body = std::move(put.body);
  if (state.members.size() > kMostFields) {
    state_->finish(future.state_,
                   refusal("TooBig", "the arguments are " + std::to_string(state.members.size()) +
                                         " bytes; pass large data as body"));
  } else if (state.body && state.body->size() > state_->max_body) {
    state_->finish(future.state_,
                   refusal("TooBig", "the body has " + std::to_string(state.body->size()) +
                                         " bytes, mtd takes " + std::to_string(state_->max_body)));
  } else {
    state_->enqueue(future.state_);
  }
  return future;
}

Future Client::watch(std::int64_t id, std::function<void(const End&)> then) {
  Future future;
  future.state_ = std::make_shared<Future::State>();
  future.state_->client = state_.get();
  future.state_->then = std::move(then);
  future.state_->id = id;
  state_->enqueue(future.state_);
  return future;
}

void Client::forget(std::int64_t id) {
  state_->socket.send("{\"t\":\"forget\",\"id\":" + std::to_string(id) + "}\n");
}

Result<void> Client::turn(std::vector<pollfd>& others, std::int64_t timeout_ms) {
  return state_->turn(others, timeout_ms);
}

Result<void> Client::wait_all(std::int64_t timeout_ms) {
  const Instant deadline =
      timeout_ms < 0 ? Instant::never() : client::now() + Duration::milliseconds(timeout_ms);
  std::vector<pollfd> none;
  while (unfinished() > 0) {
    std::int64_t left = -1;
    if (!deadline.is_never()) {
      left = (deadline.count_ns() - client::now().count_ns()) / 1'000'000;
      if (left < 0) return Error{"not every task has ended within the time", ETIMEDOUT};
    }
    if (const Result<void> turned = turn(none, left < 0 ? -1 : left + 1); !turned) return turned;
  }
  return {};
}

std::size_t Client::unfinished() const {
  return state_->pending.size() + state_->with_mtd.size();
}

bool Client::is_connected() const {
  return state_->socket.is_open() && !state_->socket.is_ended();
}

std::size_t Client::max_body() const {
  return state_->max_body;
}

// ---- inside
// ---------------------------------------------------------------------------------------

void Client::State::enqueue(const std::shared_ptr<Future::State>& future) {
  if (failure) {
    future->lost = failure;
    future->client = nullptr;
    return;
  }
  pending.push_back(future);
  send_pending();
}

// To tell it by itself would wake mtd for what nobody waits for.
void Client::State::send_forgotten() {
  socket.send(forgotten);
  forgotten.clear();
}

void Client::State::send_pending() {
  if (!socket.is_open() || socket.is_ended()) return;
  if (!pending.empty()) send_forgotten();
  while (!pending.empty() && socket.backlog() < kMostBacklog) {
    const std::shared_ptr<Future::State> future = pending.front();
    pending.pop_front();
    future->seq = ++sequence;
    with_mtd.emplace(future->seq, future);
    const std::string seq = "\"seq\":" + std::to_string(future->seq);
    if (future->members.empty()) {
      socket.send("{\"t\":\"wait\"," + seq + ",\"id\":" + std::to_string(future->id) + "}\n");
    } else {
      std::string frame = "{\"t\":\"put\"," + seq + ",\"uid\":";
      append_json_string(frame, future->uid);
      socket.send(task_frames::frame(frame + "," + future->members, future->body));
    }
    if (socket.backlog() >= kMostGathered) socket.flush();
  }
  if (!options.gather && !turning) socket.flush();
}

void Client::State::send_cancel(Future::State& future) {
  socket.send("{\"t\":\"cancel\",\"seq\":" + std::to_string(++sequence) +
              ",\"id\":" + std::to_string(future.id) + "}\n");
}

void Client::State::cancel(Future::State& future) {
  future.cancel = true;
  if (future.seq == 0) {
    const auto found = std::find_if(pending.begin(), pending.end(),
                                    [&future](const auto& one) { return one.get() == &future; });
    if (found == pending.end()) return;
    const std::shared_ptr<Future::State> kept = *found;
    pending.erase(found);
    End end;
    end.state = "cancelled";
    end.reason = "user";
    finish(kept, std::move(end));
  } else if (future.id != 0) {
    send_cancel(future);  // else when mtd has accepted it
  }
}

Result<void> Client::State::take_all() {
  for (;;) {
    Result<std::optional<client::Message>> message = socket.take();
    if (!message) return message.error();
    if (!*message) return {};
    if (const Result<void> taken = take(**message); !taken) return taken;
  }
}

// What comes most often: a task is accepted, or has ended without an error. False: it is neither.
bool Client::State::take_plain(client::Message& message) {
  const auto object = FlatObject::parse(message.line);
  if (!object) return false;
  const FlatValue* kind = object->find("t");
  const FlatValue* seq = object->find("seq");
  if (kind == nullptr || kind->kind != FlatValue::Kind::text) return false;
  if (seq == nullptr || seq->kind != FlatValue::Kind::integer) return false;
  const bool is_ok = kind->text() == "ok";
  if (!is_ok && kind->text() != "end") return false;
  const auto found = with_mtd.find(seq->integer);
  if (found == with_mtd.end()) return true;
  const std::shared_ptr<Future::State> future = found->second;
  if (is_ok) {
    const FlatValue* id = object->find("id");
    future->id = id != nullptr ? id->integer : 0;
    if (future->cancel) send_cancel(*future);
  } else {
    if (object->find("parts") != nullptr) return false;
    with_mtd.erase(found);
    take_end(future, end_of(*object, std::move(message.body)));
  }
  return true;
}

Result<void> Client::State::take(client::Message& message) {
  if (take_plain(message)) return {};
  const Result<json> object = varlink::parse_json(message.line);
  if (!object) return object.error().with_context("mtd sent what is no message");
  if (!object->is_object()) return Error{"mtd sent what is no message: not a JSON object"};
  const std::string kind = text(*object, "t");
  const auto found = with_mtd.find(integer(*object, "seq").value_or(0));
  if (found == with_mtd.end()) {
    if (kind == "no" && text(*object, "error") == "BadRequest" && !object->contains("seq")) {
      return Error{"mtd did not understand a message: " + text(*object, "message")};
    }
    return {};
  }
  const std::shared_ptr<Future::State> future = found->second;
  if (kind == "ok") {
    future->id = integer(*object, "id").value_or(0);
    if (future->cancel) send_cancel(*future);
  } else if (kind == "no") {
    with_mtd.erase(found);
    finish(future, refusal(text(*object, "error"), text(*object, "message")));
  } else if (kind == "part") {
    if (integer(*object, "part") != future->part_count || !message.body)
      return Error{"mtd sent a result with a part missing"};
    ++future->part_count;
    future->parts += *message.body;
  } else if (kind == "end") {
    if (const auto parts = integer(*object, "parts")) {
      if (*parts != future->part_count) return Error{"mtd sent a result with a part missing"};
      message.body = std::move(future->parts);
    }
    with_mtd.erase(found);
    take_end(future, end_of(*object, std::move(message.body)));
  } else if (kind == "progress" && options.progress) {
    options.progress({future->id, integer(*object, "done").value_or(0), integer(*object, "total"),
                      text(*object, "text")});
  }
  return {};
}

void Client::State::take_end(std::shared_ptr<Future::State> future, End end) {
  if (end.state == "cancelled" && end.reason == "detached" && !future->cancel && options.attached &&
      !future->members.empty()) {
    // It was cancelled because our connection broke; here we are again.
    future->uid = new_uid();
    future->seq = 0;
    future->id = 0;
    pending.push_front(std::move(future));
    return;
  }
  if (!options.keep && !future->members.empty()) {
    forgotten.append("{\"t\":\"forget\",\"id\":").append(std::to_string(end.id)).append("}\n");
  }
  finish(future, std::move(end));
}

void Client::State::finish(const std::shared_ptr<Future::State>& future, End end) {
  future->client = nullptr;
  future->members.clear();
  future->body.reset();
  future->parts = {};
  if (end.id != 0) future->id = end.id;
  future->end = std::move(end);
  if (auto then = std::exchange(future->then, nullptr)) then(*future->end);
}

void Client::State::fail(const Error& error) {
  failure = error;
  std::vector<std::shared_ptr<Future::State>> lost(pending.begin(), pending.end());
  for (const auto& [seq, future] : with_mtd)
    lost.push_back(future);
  pending.clear();
  with_mtd.clear();
  for (const auto& future : lost) {
    future->client = nullptr;
    future->lost = error;
  }
}

// The broker died, or mtd did. What has no end yet is put again in the old order.
void Client::State::lose() {
  socket = client::FrameSocket();
  forgotten.clear();
  std::deque<std::shared_ptr<Future::State>> again;
  for (const auto& [seq, future] : with_mtd) {
    future->seq = 0;
    future->parts.clear();
    future->part_count = 0;
    if (!future->members.empty()) future->id = 0;
    again.push_back(future);
  }
  with_mtd.clear();
  pending.insert(pending.begin(), again.begin(), again.end());
  opening.reset();
  asked = Instant::never();
  away_since = try_again = client::now();
  pause_ms = 0;
}

// Without waiting: look_after_connection() takes what becomes of it.
void Client::State::connect_again() {
  Result<client::Opening> begun = client::Opening::begin(options.paths);
  if (begun) {
    opening = *std::move(begun);
    try_again = Instant::never();
    return;
  }
  if (is_away() && client::now() >= away_since + patience()) {
    fail(begun.error().errno_value == EAGAIN ? client::unanswered(patience()) : begun.error());
    return;
  }
  pause_ms = std::min<std::int64_t>(pause_ms + 20, 500);
  try_again = client::now() + Duration::milliseconds(pause_ms);
}

// A new stream when mtd is away; else the answer to the question whether it is still there.
void Client::State::answered(client::OpenedStream stream) {
  if (is_away()) {
    socket = std::move(stream.socket);
    socket.limit_waits(patience());
  }
  away_since = asked = try_again = Instant::never();
  heard = client::now();
  pause_ms = 0;
}

// At every turn, after what has come was taken in.
void Client::State::look_after_connection() {
  const Instant current = client::now();
  if (opening) {
    Result<std::optional<client::OpenedStream>> opened = opening->advance();
    if (!opened || *opened) opening.reset();
    if (opened && *opened) return answered(**std::move(opened));
    if (!opened && is_away() && current >= away_since + patience()) return fail(opened.error());
    if (!opened) {
      pause_ms = std::min<std::int64_t>(pause_ms + 20, 500);
      try_again = current + Duration::milliseconds(pause_ms);
    }
  }
  if (is_away()) {
    if (opening && current >= away_since + patience()) return fail(client::unanswered(patience()));
  } else if (with_mtd.empty()) {
    heard = current;
    asked = try_again = Instant::never();
    opening.reset();
  } else if (asked.is_never() && current >= heard + patience()) {
    asked = try_again = current;
    pause_ms = 0;
  } else if (!asked.is_never() && current >= asked + patience()) {
    lose();
  }
  if (!try_again.is_never() && current >= try_again) connect_again();
}

// When look_after_connection() has to be called although nothing has come.
Instant Client::State::next_look() const {
  if (!try_again.is_never()) return try_again;
  if (is_away()) return away_since + patience();
  if (with_mtd.empty()) return Instant::never();
  return (asked.is_never() ? heard : asked) + patience();
}

Result<void> Client::State::turn(std::vector<pollfd>& others, std::int64_t timeout_ms) {
  if (failure) return *failure;
  send_pending();
  send_forgotten();
  if (socket.is_open()) socket.flush();
  const std::uint64_t before = socket.received();
  if (others.empty() && timeout_ms < 0 && try_again.is_never() && !opening && !is_away()) {
    socket.receive_some();  // at most as long as the patience
  } else if (!wait(others, timeout_ms)) {
    return {};
  }
  if (socket.received() != before) {
    heard = client::now();
    asked = Instant::never();
  }
  turning = true;
  Result<void> attended = attend();
  turning = false;
  if (attended) {
    look_after_connection();
    if (failure) return *failure;
    send_pending();
  }
  if (socket.is_open()) socket.flush();
  return attended;
}

// Reads and writes what it can. False: a signal has come.
bool Client::State::wait(std::vector<pollfd>& others, std::int64_t timeout_ms) {
  std::vector<pollfd> entries = others;
  const short wanted = static_cast<short>(POLLIN | (socket.backlog() > 0 ? POLLOUT : 0));
  entries.push_back({opening ? opening->fd() : -1, POLLIN, 0});
  entries.push_back({socket.fd(), wanted, 0});
  std::int64_t wait = timeout_ms;
  if (const Instant look = next_look(); !look.is_never()) {
    const std::int64_t pause =
        std::max<std::int64_t>(0, (look.count_ns() - client::now().count_ns()) / 1'000'000 + 1);
    wait = wait < 0 ? pause : std::min(wait, pause);
  }
  if (::poll(entries.data(), entries.size(), static_cast<int>(wait)) < 0) return false;
  const short happened = entries.back().revents;
  entries.resize(others.size());
  others = entries;
  if ((happened & POLLOUT) != 0) socket.flush();
  if ((happened & ~POLLOUT) != 0) socket.receive();
  return true;
}

Result<void> Client::State::attend() {
  if (const Result<void> taken = take_all(); !taken) {
    fail(taken.error());
    return taken;
  }
  if (socket.is_ended()) lose();
  send_pending();
  return {};
}

std::vector<std::string> task_socket_paths() {
  const std::string name = "/io.mtd.Tasks";
  if (std::string given = variable("MTD_SOCKET"); !given.empty()) {
    while (given.size() > 1 && given.back() == '/')
      given.pop_back();
    const std::size_t slash = given.rfind('/');
    const bool is_socket =
        given.find("io.mtd.", slash == std::string::npos ? 0 : slash) != std::string::npos;
    if (!is_socket) return {given + name};
    return {slash == std::string::npos ? "." + name : given.substr(0, slash) + name};
  }
  std::vector<std::string> paths;
  if (::geteuid() != 0) {
    const std::string runtime = variable("XDG_RUNTIME_DIR");
    paths.push_back(runtime.empty() ? "/tmp/mtd-" + std::to_string(::geteuid()) + name
                                    : runtime + "/mtd" + name);
  }
  paths.push_back("/run/mtd" + name);
  return paths;
}

}  // namespace mtd
