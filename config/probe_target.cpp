#include "config/probe_target.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>

#include "common/escape.h"

namespace mtd::config {
namespace {

constexpr std::string_view kScheme = "http://";
constexpr std::string_view kUnix = "unix:";
constexpr std::size_t kMaxRequest = 2048;

std::string quoted(std::string_view text) {
  return "\"" + escape_for_terminal(text.substr(0, 128)) + "\"";
}

bool is_address(const std::string& host) {
  in6_addr buffer{};
  return ::inet_pton(host.find(':') == std::string::npos ? AF_INET : AF_INET6, host.c_str(),
                     &buffer) == 1;
}

Result<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || port == 0)
    return Error{quoted(text) + " is no port, a number from 1 to 65535"};
  return port;
}

// HOST, HOST:PORT, [HOST]:PORT. default_port 0: the port has to be there.
Result<ProbeTarget> parse_host(std::string_view text, std::uint16_t default_port) {
  ProbeTarget target;
  target.host = text;
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with("[")) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return Error{"the ] after the IPv6 address is missing"};
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && port.front() != ':') return Error{"after ] comes :PORT"};
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    if (text.rfind(':') != colon) return Error{"an IPv6 address stands in brackets, like [::1]:80"};
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  target.address = host == "localhost" ? "127.0.0.1" : std::string(host);
  if (!is_address(target.address)) {
    return Error{quoted(host) +
                 " is no address; write it in numbers, or localhost: a name would have to be "
                 "looked up for each probe"};
  }
  if (port.empty() && default_port == 0) return Error{"the port is missing, like 127.0.0.1:8080"};
  target.port = default_port;
  if (!port.empty()) {
    const auto number = parse_port(port.substr(1));
    if (!number) return number.error();
    target.port = *number;
  }
  return target;
}

bool is_request(std::string_view path) {
  return path.size() <= kMaxRequest && std::none_of(path.begin(), path.end(), [](char c) {
           return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
         });
}

}  // namespace

Result<ProbeTarget> parse_http_target(std::string_view url) {
  if (!url.starts_with(kScheme)) {
    return Error{quoted(url) + " does not begin with http://" +
                 (url.starts_with("https://") ? "; TLS is not supported" : "")};
  }
  std::string_view rest = url.substr(kScheme.size());
  std::string_view path = "/";
  Result<ProbeTarget> target = Error{""};
  if (rest.starts_with(kUnix)) {
    rest.remove_prefix(kUnix.size());
    const auto colon = rest.find(':');
    if (colon != std::string_view::npos) path = rest.substr(colon + 1);
    target = parse_unix_target(rest.substr(0, colon));
    if (target) target->host = "localhost";
  } else {
    const auto slash = rest.find('/');
    if (slash != std::string_view::npos) path = rest.substr(slash);
    target = parse_host(rest.substr(0, slash), 80);
  }
  if (!target) return target;
  if (!path.starts_with("/") || !is_request(path))
    return Error{quoted(path) + " is no path of a URL; it begins with / and has no spaces"};
  target->request = path;
  return target;
}

Result<ProbeTarget> parse_tcp_target(std::string_view text) {
  auto target = parse_host(text, 0);
  if (target) target->host.clear();
  return target;
}

Result<ProbeTarget> parse_unix_target(std::string_view path) {
  constexpr std::size_t kMost = sizeof(sockaddr_un::sun_path) - 1;
  if (!path.starts_with("/")) return Error{quoted(path) + " is no absolute path of a socket"};
  if (path.size() > kMost || path.find('\0') != std::string_view::npos)
    return Error{quoted(path) + " is longer than the " + std::to_string(kMost) +
                 " bytes a socket's path may have"};
  ProbeTarget target;
  target.socket = path;
  return target;
}

}  // namespace mtd::config
