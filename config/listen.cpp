#include "config/listen.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>

#include "common/escape.h"
#include "common/names.h"

namespace mtd::config {
namespace {

constexpr std::array<std::string_view, 4> kKinds{"tcp", "udp", "unix", "systemd"};  // ListenKind
constexpr const char* kForms =
    "tcp:127.0.0.1:8080, tcp:[::1]:8080, tcp:*:8080 (IPv4 and IPv6), udp:…, unix:/run/web.sock or "
    "systemd:NAME";

std::string quoted(std::string_view text) {
  return "\"" + escape_for_terminal(text.substr(0, 64)) + "\"";
}

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// As the kernel would print it; empty: no numeric address.
std::string canonical(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  std::array<char, INET6_ADDRSTRLEN> shown{};
  if (inet_pton(family, text.c_str(), bytes.data()) != 1) return {};
  return inet_ntop(family, bytes.data(), shown.data(), shown.size());
}

Result<std::string> address_of_name(const std::string& host, const ListenNames& names) {
  if (!names.host) return Error{quoted(host) + " is no numeric address"};
  const auto found = names.host(host);
  if (!found) return found.error();
  if (found->size() == 1) return found->front();
  std::string all;
  for (const std::string& address : *found)
    all += (all.empty() ? "" : " and ") + address;
  return Error{quoted(host) + " has " + std::to_string(found->size()) + " addresses, " + all +
               "; give the one that is meant"};
}

Result<void> take_host_and_port(std::string_view text, const ListenNames& names, ListenSpec& spec) {
  const auto colon = text.rfind(':');
  const std::string_view port = colon == text.npos ? "" : text.substr(colon + 1);
  const std::string host(text.substr(0, colon == text.npos ? 0 : colon));
  if (host.empty() || port.empty() || port.back() == ']') {
    return Error{
        "needs an address and a port, like tcp:127.0.0.1:8080, tcp:[::1]:8080 or "
        "tcp:*:8080 (IPv4 and IPv6)"};
  }
  const auto value = number<std::uint32_t>(port);
  if (!value || *value == 0 || *value > 65535)
    return Error{"the port must be a number from 1 to 65535, not " + quoted(port)};
  spec.port = static_cast<std::uint16_t>(*value);
  if (host == "*") {
    spec.address = host;
    return {};
  }
  if (host.front() == '[') {
    const std::string inner = host.back() == ']' ? host.substr(1, host.size() - 2) : "";
    spec.address = canonical(AF_INET6, inner);
    if (spec.address.empty()) return Error{quoted(host) + " is no IPv6 address"};
    return {};
  }
  if (host.find(':') != std::string::npos)
    return Error{"an IPv6 address stands in brackets, like tcp:[::1]:8080"};
  spec.address = canonical(AF_INET, host);
  if (!spec.address.empty()) return {};
  auto address = address_of_name(host, names);
  if (!address) return address.error();
  spec.address = std::move(*address);
  return {};
}

Result<void> take_path(std::string_view text, ListenSpec& spec) {
  if (!text.starts_with("/") || text.back() == '/') {
    return Error{"needs the absolute path of a socket, like unix:/run/web.sock"};
  }
  if (text.size() > kMaxSocketPath) {
    return Error{"the path has " + std::to_string(text.size()) +
                 " bytes; the path of a socket has "
                 "at most " +
                 std::to_string(kMaxSocketPath)};
  }
  spec.address = text;
  return {};
}

Result<void> take_address(std::string_view text, const ListenNames& names, ListenSpec& spec) {
  switch (spec.kind) {
    case ListenKind::tcp:
    case ListenKind::udp:
      return take_host_and_port(text, names, spec);
    case ListenKind::unix_stream:
      return take_path(text, spec);
    case ListenKind::systemd:
      if (!is_valid_name(text)) {
        return Error{
            "needs the name of a socket as FileDescriptorName= of the socket unit gives "
            "it, like systemd:web"};
      }
      spec.address = text;
      return {};
  }
  return {};
}

Result<std::optional<std::uint32_t>> id_of(
    std::string_view value, const std::function<Result<std::uint32_t>(const std::string&)>& known,
    std::string_view what) {
  if (const auto id = number<std::uint32_t>(value); id && *id != 0xFFFFFFFFU)
    return std::optional(*id);
  if (!known) return Error{std::string(what) + " must be a number, not " + quoted(value)};
  const auto found = known(std::string(value));
  if (!found) return found.error();
  return std::optional(*found);
}

struct Option {
  std::string_view name;
  bool tcp, udp, unix_stream, systemd;  // of which kinds
};
constexpr std::array kOptions{
    Option{"name", true, true, true, true},         Option{"backlog", true, false, true, false},
    Option{"reuse_port", true, true, false, false}, Option{"mode", false, false, true, false},
    Option{"user", false, false, true, false},      Option{"group", false, false, true, false}};

bool fits(const Option& option, ListenKind kind) {
  switch (kind) {
    case ListenKind::tcp:
      return option.tcp;
    case ListenKind::udp:
      return option.udp;
    case ListenKind::unix_stream:
      return option.unix_stream;
    case ListenKind::systemd:
      return option.systemd;
  }
  return false;
}

// An error unless there is such an option for this kind of socket.
Result<void> know_option(std::string_view name, ListenKind kind) {
  std::string list;
  std::vector<std::string_view> here;
  for (const Option& option : kOptions) {
    if (!fits(option, kind)) continue;
    if (option.name == name) return {};
    here.push_back(option.name);
    list += (list.empty() ? "" : ", ") + std::string(option.name);
  }
  const auto close = closest_name(name, here);
  return Error{
      "there is no option " + quoted(name) + " of a " +
      std::string(kKinds.at(static_cast<std::size_t>(kind))) + " socket" +
      (close.empty() ? "; there are " + list : ", did you mean \"" + std::string(close) + "\"?")};
}

Result<void> take_option(std::string_view name, std::string_view value, const ListenNames& names,
                         ListenSpec& spec) {
  if (auto known = know_option(name, spec.kind); !known) return known;
  if (name == "name") {
    if (!is_valid_name(value)) {
      return Error{"name: up to 64 letters, digits, \"_\", \".\" and \"-\", not " + quoted(value)};
    }
    spec.name = value;
  } else if (name == "backlog") {
    const auto backlog = number<std::uint32_t>(value);
    if (!backlog || *backlog == 0 || *backlog > kMaxBacklog) {
      return Error{"backlog must be a number from 1 to " + std::to_string(kMaxBacklog) + ", not " +
                   quoted(value)};
    }
    spec.backlog = *backlog;
  } else if (name == "reuse_port") {
    if (value != "yes" && value != "no")
      return Error{"reuse_port must be yes or no, not " + quoted(value)};
    spec.reuse_port = value == "yes";
  } else if (name == "mode") {
    const auto mode = number<std::uint32_t>(value, 8);
    if (!mode || *mode > 0777)
      return Error{"mode must be octal, from 0 to 0777, like 0660, not " + quoted(value)};
    spec.mode = *mode;
  } else {
    const bool user = name == "user";
    const auto id = id_of(value, user ? names.user : names.group, name);
    if (!id) return id.error();
    (user ? spec.uid : spec.gid) = *id;
  }
  return {};
}

Result<void> take_options(std::string_view text, const ListenNames& names, ListenSpec& spec) {
  std::set<std::string_view> given;
  while (!text.empty()) {
    const std::string_view option = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(option.size() + 1, text.size()));
    const auto equals = option.find('=');
    if (equals == option.npos) {
      return Error{"an option is NAME=VALUE, like mode=0660, not " + quoted(option)};
    }
    const std::string_view name = option.substr(0, equals);
    if (!given.insert(name).second) return Error{"option " + quoted(name) + " is given twice"};
    if (auto taken = take_option(name, option.substr(equals + 1), names, spec); !taken)
      return taken;
  }
  return {};
}

}  // namespace

Result<ListenSpec> parse_listen(std::string_view text, const ListenNames& names) {
  ListenSpec spec;
  const auto colon = text.find(':');
  const auto kind = std::find(kKinds.begin(), kKinds.end(), text.substr(0, colon));
  if (colon == text.npos || kind == kKinds.end())
    return Error{std::string("must be like ") + kForms};
  spec.kind = static_cast<ListenKind>(kind - kKinds.begin());
  text.remove_prefix(colon + 1);
  const auto question = text.find('?');
  const std::string_view options = question == text.npos ? "" : text.substr(question + 1);
  if (auto taken = take_address(text.substr(0, question), names, spec); !taken)
    return taken.error();
  if (auto taken = take_options(options, names, spec); !taken) return taken.error();
  return spec;
}

std::string listen_address(const ListenSpec& spec) {
  const std::string kind(kKinds.at(static_cast<std::size_t>(spec.kind)));
  const bool inet = spec.kind == ListenKind::tcp || spec.kind == ListenKind::udp;
  if (!inet) return kind + ":" + spec.address;
  const bool v6 = spec.address.find(':') != std::string::npos;
  return kind + ":" + (v6 ? "[" + spec.address + "]" : spec.address) + ":" +
         std::to_string(spec.port);
}

std::string listen_text(const ListenSpec& spec) {
  const ListenSpec defaults;
  std::string options;
  const auto add = [&](const std::string& option) {
    options += (options.empty() ? "?" : "&") + option;
  };
  if (!spec.name.empty()) add("name=" + spec.name);
  if (spec.backlog != defaults.backlog) add("backlog=" + std::to_string(spec.backlog));
  if (spec.reuse_port) add("reuse_port=yes");
  if (spec.mode != defaults.mode) {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "mode=%04o", spec.mode);
    add(mode.data());
  }
  if (spec.uid) add("user=" + std::to_string(*spec.uid));
  if (spec.gid) add("group=" + std::to_string(*spec.gid));
  return listen_address(spec) + options;
}

}  // namespace mtd::config
