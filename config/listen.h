// A socket of `listen` in its text form: KIND:ADDRESS?OPTION=VALUE&OPTION=VALUE.
//
//   tcp:127.0.0.1:8080   tcp:[::1]:8080   tcp:*:8080 (IPv4 and IPv6)   udp:…
//   unix:/run/web.sock?mode=0660&user=www-data   systemd:NAME (passed by the service manager)
//
// Pure: names of hosts, users and groups are looked up by the caller, at load and never later.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "config/pool_spec.h"

namespace mtd::config {

inline constexpr std::size_t kMaxListen = 32;        // sockets of one pool
inline constexpr std::size_t kMaxSocketPath = 107;   // sun_path, unix(7)
inline constexpr std::uint32_t kMaxBacklog = 65535;  // listen(2)

// Who knows names. Members that are empty: only numbers are understood.
struct ListenNames {
  std::function<Result<std::vector<std::string>>(const std::string& host)> host;  // numeric
  std::function<Result<std::uint32_t>(const std::string&name)> user, group;
};

// The error is what is wrong with `text`, without `text` itself.
[[nodiscard]] Result<ListenSpec> parse_listen(std::string_view text, const ListenNames& names);
// Read back by parse_listen without any names; options that are the default are left out.
[[nodiscard]] std::string listen_text(const ListenSpec& spec);
// Which socket it is, without options: "tcp:127.0.0.1:8080".
[[nodiscard]] std::string listen_address(const ListenSpec& spec);

}  // namespace mtd::config
