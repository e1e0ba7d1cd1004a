// Where a probe of kind http, tcp or unix connects to, and what it asks there. Hosts are numeric
// addresses or localhost: a name would have to be looked up at each probe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace mtd::config {

struct ProbeTarget {
  std::string address;  // numeric; empty: a unix socket
  std::uint16_t port = 0;
  std::string socket;   // path
  std::string host;     // of an HTTP request
  std::string request;  // path of an HTTP request; empty: a connection is enough
  bool operator==(const ProbeTarget&) const = default;
};

// After expansion, of one worker. The error says what would be right.
[[nodiscard]] Result<ProbeTarget> parse_http_target(std::string_view url);
[[nodiscard]] Result<ProbeTarget> parse_tcp_target(std::string_view text);
[[nodiscard]] Result<ProbeTarget> parse_unix_target(std::string_view path);

}  // namespace mtd::config
