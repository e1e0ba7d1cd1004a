#include "ctl/task_calls.h"

#include <cerrno>
#include <charconv>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/signals.h"
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

Outcome<Json> call_tasks(const Context& context, std::string_view method, const Json& parameters) {
  Outcome<Connection> connection = connect_first(task_sockets(context), context.options().timeout);
  if (!connection) return connection.failure();
  Result<varlink::Reply> reply =
      connection->client.call(std::string(kTaskSocket) + "." + std::string(method), parameters);
  if (!reply) return transport_failure(reply.error());
  if (reply->is_error()) return failure_of_error(reply->error(), reply->parameters());
  return (*std::move(reply)).take_parameters();
}

Outcome<Client> connect_client(const Context& context, ClientOptions options) {
  options.paths = task_sockets(context);
  Result<Client> client = Client::connect(std::move(options));
  if (!client) return client_failure(client.error());
  return *std::move(client);
}

Failure client_failure(const Error& error) {
  CtlExit code = CtlExit::unreachable;
  if (error.errno_value == EACCES) code = CtlExit::permission_denied;
  if (error.errno_value == ETIMEDOUT) code = CtlExit::timed_out;
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
  if (phrase.empty()) phrase = reason.empty() ? escape_for_terminal(end.state) : reason;
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
