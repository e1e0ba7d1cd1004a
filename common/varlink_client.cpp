#include "common/varlink_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/control_methods.h"
#include "common/varlink_json.h"
#include "common/varlink_message.h"

namespace mtd::varlink {
namespace {

using nlohmann::json;

constexpr std::size_t kReadBytes = 64 * 1024;

Instant monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::at_ns(static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec);
}

Error timed_out() {
  return Error{"the answer did not come in time", ETIMEDOUT};
}
Error closed_by_peer() {
  return Error{"the connection was closed by mtd", ECONNRESET};
}

std::string full_name(std::string_view method) {
  if (method.find('.') != std::string_view::npos) return std::string(method);
  return std::string(control::kInterface) + "." + std::string(method);
}

Result<Reply> parse_reply(std::string_view frame) {
  auto parsed = parse_json(frame);
  if (!parsed) return Error{"the answer is not JSON: " + parsed.error().message, EPROTO};
  const auto bad = [] { return Error{"the answer is no Varlink reply", EPROTO}; };
  if (!parsed->is_object()) return bad();
  json parameters = json::object();
  if (const auto given = parsed->find("parameters"); given != parsed->end() && !given->is_null()) {
    parameters = std::move(*given);
  }
  const json error = parsed->value("error", json(""));
  const json continues = parsed->value("continues", json(false));
  if (!parameters.is_object() || !error.is_string() || !continues.is_boolean()) return bad();
  return Reply(error.get<std::string>(), std::move(parameters), continues.get<bool>());
}

}  // namespace

Failure failure_of(const Error& error) {
  switch (error.errno_value) {
    case EACCES:
    case EPERM:
      return Failure::permission;
    case ETIMEDOUT:
      return Failure::timed_out;
    case ECONNRESET:
    case EPIPE:
      return Failure::closed;
    case EPROTO:
    case EMSGSIZE:
      return Failure::protocol;
    default:
      return Failure::unreachable;
  }
}

Reply::Reply() : parameters_(std::make_shared<json>(json::object())) {}
Reply::Reply(std::string error, json parameters, bool continues)
    : error_(std::move(error)),
      parameters_(std::make_shared<json>(std::move(parameters))),
      continues_(continues) {}

json Reply::take_parameters() && {
  return std::move(*parameters_);
}

std::string_view Reply::error_name() const {
  const std::size_t dot = error_.rfind('.');
  return std::string_view(error_).substr(dot == std::string::npos ? 0 : dot + 1);
}

Result<Client> Client::connect(const std::string& path, Duration timeout) {
  if (path.empty()) return Error{"the path of the socket is empty", ENOENT};
  if (path.size() > kMaxSocketPath) {
    return Error{path + ": a socket's path has at most " + std::to_string(kMaxSocketPath) +
                     " bytes, this one has " + std::to_string(path.size()),
                 ENAMETOOLONG};
  }
  if (path.find('\0') != std::string::npos) return Error{"the path contains a NUL byte", EINVAL};
  Client client(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!client.socket_) return Error::from_errno("socket", errno);
  client.set_timeout(timeout);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  // EAGAIN: the listener's backlog is full. poll(2) cannot wait for room, so try again in between.
  while (::connect(client.socket_.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Error::from_errno(path, errno);
    const Instant now = monotonic_now();
    if (now >= client.deadline_) return timed_out().with_context(path);
    ::poll(nullptr, 0, 10);
  }
  return client;
}

Client Client::adopt(UniqueFd connected_socket) {
  return Client(std::move(connected_socket));
}

void Client::set_timeout(Duration from_now) {
  deadline_ = monotonic_now() + from_now;
}

Duration Client::time_left() const {
  return deadline_.is_never() ? Duration::infinite() : deadline_.since(monotonic_now());
}

Result<void> Client::wait_for(short events) const {
  while (true) {
    const Duration left = deadline_.since(monotonic_now());
    if (left.is_zero()) return timed_out();
    const std::int64_t ms = std::min<std::int64_t>(left.count_ms() + 1, 60'000);
    pollfd entry{socket_.get(), events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(ms));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return Error::from_errno("poll", errno);
  }
}

Result<void> Client::send(std::string_view method, const json& parameters, bool more) {
  const std::string message = call_message(full_name(method), parameters, more);
  std::string_view rest = message;
  while (!rest.empty()) {
    // Not MSG_DONTWAIT alone: an adopted socket may be blocking.
    const ssize_t sent =
        ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (auto waited = wait_for(POLLOUT); !waited) return waited;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      // The server may have said why before it closed: the answer is read all the same.
      return {};
    } else if (errno != EINTR) {
      return Error::from_errno("send", errno);
    }
  }
  return {};
}

Result<Reply> Client::call(std::string_view method, const json& parameters) {
  if (auto sent = send(method, parameters, false); !sent) return sent.error();
  return receive();
}

Result<void> Client::call_more(std::string_view method, const json& parameters) {
  return send(method, parameters, true);
}

bool Client::has_buffered_reply() const {
  return input_.find('\0', scanned_) != std::string::npos;
}

Result<Reply> Client::receive() {
  std::vector<char> buffer(kReadBytes);
  while (true) {
    const std::size_t end = input_.find('\0', scanned_);
    if (end != std::string::npos) {
      auto reply = parse_reply(std::string_view(input_).substr(0, end));
      input_.erase(0, end + 1);
      scanned_ = 0;
      return reply;
    }
    scanned_ = input_.size();
    if (input_.size() > kMaxReplyBytes) {
      return Error{"the answer is longer than " + std::to_string(kMaxReplyBytes) + " bytes",
                   EMSGSIZE};
    }
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      input_.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || errno == ECONNRESET) {
      return closed_by_peer();
    } else if (errno == EAGAIN) {
      if (auto waited = wait_for(POLLIN); !waited) return waited.error();
    } else if (errno != EINTR) {
      return Error::from_errno("receive", errno);
    }
  }
}

}  // namespace mtd::varlink
