#include "ctl/task_calls.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/signals.h"
#include "common/task_methods.h"
#include "common/varlink_json.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"
#include "ctl/session.h"
#include "ctl/socket_search.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kTaskSocket = "io.mtd.Tasks";

Failure usage(const Context& context, const std::string& message) {
  return {CtlExit::usage, message + "\nTry 'mtctl help " + context.invocation.verb + "'."};
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stopped != end || text.empty()) return std::nullopt;
  return value;
}

constexpr Duration kPatience = Duration::seconds(30);
constexpr Duration kLeastPatience = Duration::milliseconds(100);
constexpr Duration kMostPatience = Duration::seconds(24 * 60 * 60);
constexpr int kRepeatPauseMs = 20;  // × the number of times
constexpr int kLongestPauseMs = 500;

// Whoever asks mtd how it is makes it find out whether its broker hangs.
void have_broker_looked_after(const Context& context) {
  Options options = context.options();
  options.timeout = Duration::seconds(2);
  if (Outcome<Session> session = Session::open(options, context.surroundings))
    (void)session->call("Status", Json::object());
}

Failure broker_unanswered() {
  return {CtlExit::unreachable,
          "mtd does not answer for its tasks: it is there, and its broker may be stopped, or stuck "
          "at a disk; 'mtctl status' and its log say more. What was asked for may still be done"};
}

// One call of io.mtd.Tasks, made as often as brokers die of it.
class TaskCall {
 public:
  TaskCall(const Context& context, std::string_view method, const Json& parameters,
           Duration patience)
      : context_(context),
        method_(method),
        parameters_(parameters),
        patience_(patience),
        deadline_(monotonic_now() + context.options().timeout) {}

  // Of --timeout.
  [[nodiscard]] Instant deadline() const { return deadline_; }

  // The connection over which the answer comes.
  Result<varlink::Client*> send() {
    if (repeats_ > 0) ::poll(nullptr, 0, std::min(kRepeatPauseMs * repeats_, kLongestPauseMs));
    const Duration left = is_limited() ? deadline_.since(monotonic_now()) : patience_;
    Outcome<Connection> found = connect_first(task_sockets(context_), left);
    if (!found) {
      unreachable_ = found.failure();
      if (unreachable_->code == CtlExit::timed_out && !is_limited()) {
        have_broker_looked_after(context_);
        unreachable_ = broker_unanswered();
      }
      return Error{"", ENOENT};
    }
    client_ = std::move(found->client);
    client_->set_timeout(left);
    if (auto sent =
            client_->call_more(std::string(kTaskSocket) + "." + std::string(method_), parameters_);
        !sent) {
      return sent.error();
    }
    return &*client_;
  }

  // The broker died before it answered, and there is time left.
  bool may_be_repeated(const Error& error) {
    const control::Method* row = control::find_method(control::task_interface(), method_);
    if (row == nullptr || row->repeat != control::Repeat::yes) return false;
    if (varlink::failure_of(error) != varlink::Failure::closed) return false;
    if (is_limited() && monotonic_now() >= deadline_) return false;
    return ++repeats_ <= kMostRepeats;
  }

  [[nodiscard]] Failure failure_of(const Error& error) const {
    if (unreachable_) return *unreachable_;
    if (varlink::failure_of(error) != varlink::Failure::timed_out || is_limited())
      return transport_failure(error);
    have_broker_looked_after(context_);
    return broker_unanswered();
  }

 private:
  static constexpr int kMostRepeats = 20;
  [[nodiscard]] bool is_limited() const { return !deadline_.is_never(); }

  const Context& context_;
  std::string_view method_;
  const Json& parameters_;
  Duration patience_;
  Instant deadline_;
  int repeats_ = 0;
  std::optional<varlink::Client> client_;
  std::optional<Failure> unreachable_;
};

Outcome<Json> outcome_of(varlink::Reply reply) {
  if (reply.is_error()) return failure_of_error(reply.error(), reply.parameters());
  return std::move(reply).take_parameters();
}

// Until the answer can be read.
Outcome<bool> wait_for_answer(const varlink::Client& client, Instant deadline, StallNote& note) {
  for (;;) {
    std::vector<pollfd> entries{{client.fd(), POLLIN, 0}};
    note.add_to(entries);
    const std::int64_t wait = std::min<std::int64_t>(note.due_in_ms(deadline), 1 << 30);
    if (::poll(entries.data(), entries.size(), static_cast<int>(wait)) < 0) continue;  // EINTR
    if (entries.front().revents != 0) return true;
    if (monotonic_now() >= deadline) return no_answer_in_time();
    note.look();
    if (note.is_unanswered()) return broker_unanswered();
  }
}

}  // namespace

std::vector<std::string> task_sockets(const Context& context) {
  std::vector<std::string> paths;
  for (const std::string& path :
       socket_candidates(context.options().socket, context.surroundings)) {
    const std::size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash);
    paths.push_back(directory + "/" + std::string(kTaskSocket));
  }
  return paths;
}

StalledAt stalled_at(const Context& context) {
  return {task_sockets(context), socket_candidates(context.options().socket, context.surroundings)};
}

Outcome<Duration> patience_of(const Context& context) {
  if (!context.invocation.has("--patience")) return kPatience;
  const Result<Duration> given = parse_duration(context.invocation.value("--patience"));
  if (!given) return usage(context, "--patience: " + given.error().message);
  if (*given < kLeastPatience || *given > kMostPatience) {
    return usage(context, "--patience: must be from " + format_duration(kLeastPatience) + " to " +
                              format_duration(kMostPatience));
  }
  return *given;
}

Failure no_answer_in_time() {
  return transport_failure({"", ETIMEDOUT});
}

Outcome<Json> call_tasks(const Context& context, std::string_view method, const Json& parameters) {
  const Outcome<Duration> patience = patience_of(context);
  if (!patience) return patience.failure();
  TaskCall call(context, method, parameters, *patience);
  for (;;) {
    Result<varlink::Client*> sent = call.send();
    if (!sent) return call.failure_of(sent.error());
    Result<varlink::Reply> reply = (*sent)->receive();
    if (reply) return outcome_of(*std::move(reply));
    if (!call.may_be_repeated(reply.error())) return call.failure_of(reply.error());
  }
}

Outcome<Json> call_tasks_at_length(Context& context, std::string_view method,
                                   const Json& parameters, const std::string& pool) {
  const Outcome<Duration> patience = patience_of(context);
  if (!patience) return patience.failure();
  TaskCall call(context, method, parameters, *patience);
  StallNote note(context, *patience, stalled_at(context));
  note.watch_pool(pool);
  for (;;) {
    Result<varlink::Client*> sent = call.send();
    if (!sent) return call.failure_of(sent.error());
    if (const Outcome<bool> came = wait_for_answer(**sent, call.deadline(), note); !came)
      return came.failure();
    (*sent)->set_timeout(*patience);  // for the rest of an answer that has begun
    Result<varlink::Reply> reply = (*sent)->receive();
    if (reply) return outcome_of(*std::move(reply));
    if (!call.may_be_repeated(reply.error())) return call.failure_of(reply.error());
  }
}

Outcome<Client> connect_client(const Context& context, ClientOptions options, Duration at_most) {
  const Outcome<Duration> patience = patience_of(context);
  if (!patience) return patience.failure();
  options.patience_ms = std::min(*patience, at_most).count_ms();
  options.paths = task_sockets(context);
  Result<Client> client = Client::connect(std::move(options));
  if (!client && client.error().errno_value == ETIMEDOUT && at_most < *patience)
    return no_answer_in_time();
  if (!client && client.error().errno_value == ETIMEDOUT) have_broker_looked_after(context);
  if (!client) return client_failure(client.error());
  return *std::move(client);
}

Failure client_failure(const Error& error) {
  CtlExit code = CtlExit::unreachable;
  if (error.errno_value == EACCES) code = CtlExit::permission_denied;
  if (error.errno_value == EPROTO) code = CtlExit::failed;
  std::string message;
  for (std::size_t at = 0; at <= error.message.size();) {
    const std::size_t end = std::min(error.message.find('\n', at), error.message.size());
    message += (at == 0 ? "" : "\n") + escape_for_terminal(error.message.substr(at, end - at));
    at = end + 1;
  }
  return {code, message};
}

bool is_task_id(std::string_view word) {
  const auto number = parse_number(word);
  return number && *number > 0;
}

Outcome<std::vector<std::int64_t>> task_ids(const std::vector<std::string>& words) {
  std::vector<std::int64_t> ids;
  for (const std::string& word : words) {
    if (!is_task_id(word)) {
      return Failure{CtlExit::usage, "'" + escape_for_terminal(word) +
                                         "' is no task's number, such as 'mtctl put' prints"};
    }
    ids.push_back(*parse_number(word));
  }
  return ids;
}

Outcome<std::optional<std::int64_t>> milliseconds_of(const Context& context,
                                                     const std::string& option) {
  if (!context.invocation.has(option)) return std::optional<std::int64_t>();
  const Result<Duration> duration = parse_duration(context.invocation.value(option));
  if (!duration) return usage(context, option + ": " + duration.error().message);
  if (duration->is_infinite()) return std::optional<std::int64_t>(-1);
  return std::optional(duration->count_ms());
}

Outcome<std::optional<std::int64_t>> number_of(const Context& context, const std::string& option,
                                               std::int64_t least, std::int64_t most) {
  if (!context.invocation.has(option)) return std::optional<std::int64_t>();
  const std::string text = context.invocation.value(option);
  const auto number = parse_number(text);
  if (!number || *number < least || *number > most) {
    return usage(context, option + ": '" + escape_for_terminal(text) + "' is no number from " +
                              std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

std::string printed_result(const End& end) {
  if (end.body) return *end.body;
  const Result<nlohmann::json> value = varlink::parse_json(end.result);
  if (value && value->is_null()) return {};
  return (value && value->is_string() ? value->get<std::string>() : end.result) + "\n";
}

std::string failure_phrase(const End& end) {
  std::string phrase = escape_for_terminal(end.error.message);
  if (phrase.empty() && end.signal) {
    phrase =
        "killed by signal " + std::to_string(*end.signal) + " (" + signal_name({*end.signal}) + ")";
  }
  if (phrase.empty() && end.exit) phrase = "exit " + std::to_string(*end.exit);
  const std::string reason = escape_for_terminal(end.reason);
  if (end.reason == "timeout") phrase = phrase.empty() ? "timed out" : "timed out: " + phrase;
  if (end.reason == "crash" && phrase.find("signal") == std::string::npos) {
    phrase = phrase.empty() ? "the worker died of it" : "the worker died: " + phrase;
  }
  const bool is_plain = reason.empty() || (end.state == "cancelled" && end.reason == "user");
  if (phrase.empty()) phrase = is_plain ? escape_for_terminal(end.state) : reason;
  if (end.attempts > 1) phrase += ", " + counted(end.attempts, "attempt");
  return phrase;
}

CtlExit exit_code_of(const End& end) {
  if (end.is_done()) return CtlExit::ok;
  if (end.reason == "QueueFull" || end.reason == "StoreFull") return CtlExit::refused_for_now;
  if (end.is_refused()) return CtlExit::own_failure;
  if (end.reason == "timeout") return CtlExit::task_timed_out;
  if (end.state == "cancelled") return static_cast<CtlExit>(130);
  if (end.signal) return static_cast<CtlExit>(128 + *end.signal);
  if (end.exit && *end.exit != 0) return static_cast<CtlExit>(*end.exit);
  return CtlExit::failed;
}

Json end_as_json(const End& end) {
  Json object{{"id", end.id}, {"state", end.state}, {"attempts", end.attempts}};
  if (!end.reason.empty()) object["reason"] = end.reason;
  if (end.is_done() && !end.body) {
    const Result<nlohmann::json> value = varlink::parse_json(end.result);
    object["result"] = value ? *value : Json();
  }
  if (end.body) object["output"] = *end.body;
  if (end.signal) object["signal"] = *end.signal;
  if (end.exit) object["exit"] = *end.exit;
  if (!end.error.message.empty() || !end.error.type.empty()) {
    object["error"] = {{"type", end.error.type}, {"message", end.error.message}};
    if (!end.error.trace.empty()) object["error"]["trace"] = end.error.trace;
  }
  return object;
}

}  // namespace mtd::ctl
