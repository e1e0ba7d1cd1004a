#include "ctl/session.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "common/control_methods.h"
#include "common/escape.h"
#include "ctl/json_access.h"
#include "ctl/phrases.h"

namespace mtd::ctl {
namespace {

// "web: message" for every pool that did not do what was asked, unless `told` says it already.
std::string pools_in_trouble(const Json& parameters, const std::string& told) {
  std::string result;
  for (const Json& pool : array(parameters, "pools")) {
    const std::string message = safe_text(pool, "message");
    if (is_true(pool, "ok") || message.empty()) continue;
    if (told.find(message) != std::string::npos) continue;
    result += "\n  " + safe_text(pool, "name") + ": " + message;
  }
  return result;
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string result;
  for (const std::string& line : lines) {
    result += (result.empty() ? "" : "\n") + escape_for_terminal(line);
  }
  return result;
}

constexpr int kMostReconnects = 100;
constexpr Duration kAnswer = Duration::seconds(30);  // of what does not wait for anything

Failure supervisor_unanswered() {
  return {CtlExit::unreachable,
          "mtd has not answered for " + format_duration(kAnswer) +
              ": it is there, and its supervisor may be stopped or busy; its log says more"};
}

bool is_answered_at_once(std::string_view method) {
  const control::Method* row = control::find_method(method);
  return row != nullptr && row->streaming != control::Streaming::required &&
         (row->tier == control::Tier::read || method == "GetConfig") && method != "Wait";
}

bool is_repeatable(const std::string& method, const Json& parameters) {
  const control::Method* row = control::find_method(method);
  if (row == nullptr) return false;
  switch (row->repeat) {
    case control::Repeat::yes:
      return true;
    case control::Repeat::absolute:
      return !parameters.contains("delta") && !parameters.contains("current");
    case control::Repeat::no:
      return false;
  }
  return false;
}

std::string_view last_part(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

}  // namespace

Failure no_queue(std::string_view pool) {
  return {CtlExit::no_such, "no pool '" + escape_for_terminal(pool) +
                                "' has a queue of tasks; 'mtctl pool ls' lists those that have, "
                                "and \"tasks\" in the configuration gives it one"};
}

Failure failure_of_error(std::string_view error, const Json& parameters) {
  const CtlExit code = exit_code_of_error(error);
  const std::string_view name = last_part(error);
  const std::string message = safe_text(parameters, "message");
  if (error == "io.mtd.Tasks.NoSuchPool") return no_queue(text(parameters, "pool"));
  if (name == "NoSuchPool") {
    const std::string pool = safe_text(parameters, "pool");
    return {code, "no such pool: " + (pool.empty() ? safe_text(parameters, "selector") : pool) +
                      "; 'mtctl status' lists them"};
  }
  if (name == "NoQueue" && message.empty()) return no_queue(text(parameters, "pool"));
  if (name == "NoSuchWorker")
    return {code, "no such worker: " + safe_text(parameters, "selector") +
                      "; a worker is POOL/NUMBER, as 'mtctl status POOL' lists them"};
  if (name == "InvalidConfiguration") {
    return {code, "the configuration is invalid, nothing was changed:\n" +
                      lines_of(strings(parameters, "errors"))};
  }
  if (name == "InvalidParameter") {
    return {code, "the daemon does not accept '" + safe_text(parameters, "parameter") + "'" +
                      (message.empty() ? "" : ": " + message)};
  }
  if (name == "MethodNotFound" || name == "MethodNotImplemented") {
    return {code, "the daemon does not know " + safe_text(parameters, "method") +
                      "; it is of another version than mtctl ('mtctl version')"};
  }
  if (name == "PermissionDenied") {
    return {code, message.empty() ? "permission denied" : message};
  }
  if (name == "ShuttingDown" && message.empty()) return {code, "mtd is shutting down"};
  const std::string shown = message.empty() ? escape_for_terminal(error) : message;
  return {code, shown + pools_in_trouble(parameters, shown)};
}

Outcome<Session> Session::open(const Options& options, const Surroundings& surroundings) {
  Outcome<Connection> connection = connect_first(socket_candidates(options.socket, surroundings),
                                                 std::min(options.timeout, kAnswer));
  if (!connection) {
    const bool is_ours = options.timeout > kAnswer;
    return connection.failure().code == CtlExit::timed_out && is_ours ? supervisor_unanswered()
                                                                      : connection.failure();
  }
  connection->client.set_timeout(options.timeout);
  return Session(*std::move(connection));
}

Session::Session(Connection connection)
    : connection_(std::move(connection)), parameters_(Json::object()) {}

// What waits until something is so has the time that it was given, be it without end.
void Session::limit(std::string_view method) {
  if (!has_own_limit_ && !connection_.client.time_left().is_infinite()) return;  // --timeout
  has_own_limit_ = is_answered_at_once(method);
  connection_.client.set_timeout(has_own_limit_ ? kAnswer : Duration::infinite());
}

Failure Session::failure_of_transport(const Error& error) {
  if (has_own_limit_ && varlink::failure_of(error) == varlink::Failure::timed_out)
    return supervisor_unanswered();
  was_cut_ = varlink::failure_of(error) == varlink::Failure::closed;
  Failure failure = transport_failure(error);
  if (was_cut_ && !is_repeatable(method_, parameters_)) {
    failure.message += "; nobody knows whether it has done what '" + method_ +
                       "' asks for: see 'mtctl status' before you try again";
  }
  return failure;
}

// The one that took over answers at the same place. A supervisor that dies again and again is given
// more and more time.
bool Session::connect_again() {
  if (!std::exchange(was_cut_, false) || !is_repeatable(method_, parameters_)) return false;
  if (++reconnects_ > kMostReconnects) return false;
  const Duration left = connection_.client.time_left();
  const auto pause = std::min<std::int64_t>((reconnects_ - 1) * 20, 500);
  if (left.is_zero()) return false;
  ::poll(nullptr, 0, static_cast<int>(std::min(pause, left.count_ms())));
  Outcome<Connection> again = connect_first({connection_.path}, connection_.client.time_left());
  if (!again) return false;
  connection_ = *std::move(again);
  has_parts_ = false;
  return true;
}

bool Session::can_begin_again() {
  return connect_again();
}

Outcome<Json> Session::call(std::string_view method, const Json& parameters) {
  method_ = method;
  parameters_ = parameters;
  limit(method);
  for (;;) {
    Result<varlink::Reply> reply = connection_.client.call(method, parameters);
    if (reply && reply->is_error()) return failure_of_error(reply->error(), reply->parameters());
    if (reply) return (*std::move(reply)).take_parameters();
    const Failure failure = failure_of_transport(reply.error());
    if (!connect_again()) return failure;
  }
}

Outcome<bool> Session::begin(std::string_view method, const Json& parameters) {
  method_ = method;
  parameters_ = parameters;
  has_parts_ = false;
  limit(method);
  const Result<void> sent = connection_.client.call_more(method, parameters);
  if (!sent) return failure_of_transport(sent.error());
  return true;
}

Outcome<Session::Part> Session::next() {
  for (;;) {
    Result<varlink::Reply> reply = connection_.client.receive();
    if (reply && reply->is_error()) return failure_of_error(reply->error(), reply->parameters());
    if (reply) {
      has_parts_ = true;
      const bool last = !reply->continues();
      return Part{(*std::move(reply)).take_parameters(), last};
    }
    const Failure failure = failure_of_transport(reply.error());
    if (has_parts_ || !connect_again()) return failure;
    if (auto sent = connection_.client.call_more(method_, parameters_); !sent) return failure;
  }
}

}  // namespace mtd::ctl
