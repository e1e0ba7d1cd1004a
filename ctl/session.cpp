#include "ctl/session.h"

#include <utility>

#include "common/escape.h"
#include "ctl/json_access.h"

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

std::string_view last_part(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

}  // namespace

Failure failure_of_error(std::string_view error, const Json& parameters) {
  const CtlExit code = exit_code_of_error(error);
  const std::string_view name = last_part(error);
  const std::string message = safe_text(parameters, "message");
  if (name == "NoSuchPool") return {code, "no such pool: " + safe_text(parameters, "selector")};
  if (name == "NoSuchWorker") return {code, "no such worker: " + safe_text(parameters, "selector")};
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
  Outcome<Connection> connection =
      connect_first(socket_candidates(options.socket, surroundings), options.timeout);
  if (!connection) return connection.failure();
  return Session(*std::move(connection));
}

Outcome<Json> Session::call(std::string_view method, const Json& parameters) {
  Result<varlink::Reply> reply = connection_.client.call(method, parameters);
  if (!reply) return transport_failure(reply.error());
  if (reply->is_error()) return failure_of_error(reply->error(), reply->parameters());
  return (*std::move(reply)).take_parameters();
}

Outcome<bool> Session::begin(std::string_view method, const Json& parameters) {
  const Result<void> sent = connection_.client.call_more(method, parameters);
  if (!sent) return transport_failure(sent.error());
  return true;
}

Outcome<Session::Part> Session::next() {
  Result<varlink::Reply> reply = connection_.client.receive();
  if (!reply) return transport_failure(reply.error());
  if (reply->is_error()) return failure_of_error(reply->error(), reply->parameters());
  const bool last = !reply->continues();
  return Part{(*std::move(reply)).take_parameters(), last};
}

}  // namespace mtd::ctl
