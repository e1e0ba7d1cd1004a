// What the supervisor leaves with the keeper about the sockets it opened for pools: which ones
// there are, under which names the keeper holds them, and which revisions at the keeper use them.
// Pure; decoded as strictly as a file.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxSockets = 896;  // of all pools; see keeper::kMaxHeld

struct SocketManifest {
  struct Entry {
    std::string key;   // "tcp:127.0.0.1:80"; of a slot with reuse_port "tcp:127.0.0.1:80#3"
    std::string held;  // name at the keeper
    std::uint64_t device = 0, inode = 0;  // of the file of a unix socket
    bool operator==(const Entry&) const = default;
  };
  std::vector<Entry> sockets;
  std::map<std::uint64_t, std::set<std::string>> uses;  // by revision: addresses
  bool operator==(const SocketManifest&) const = default;
};

[[nodiscard]] std::string encode(const SocketManifest& manifest);
[[nodiscard]] Result<SocketManifest> decode_sockets(std::string_view text);

}  // namespace mtd::supervisor
