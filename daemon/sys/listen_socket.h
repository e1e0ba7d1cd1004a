// Sockets that mtd opens for its workers: bound, listening, and blocking, as a worker that knows
// LISTEN_FDS expects them. Opening one never waits.
//
// The file of a unix socket has its mode from birth. A file that stands in its place is removed
// only if it is a socket that nobody serves any more, and that belonged to mtd or to the owner to
// be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

struct ListenAddress {
  enum class Kind { tcp, udp, unix_stream };
  Kind kind = Kind::tcp;
  std::string address;  // numeric, "*": IPv4 and IPv6 where there is IPv6; a path
  std::uint16_t port = 0;
  int backlog = 4096;
  bool reuse_port = false;
  std::uint32_t mode = 0660;
  std::optional<std::uint32_t> uid, gid;
  bool find_owner = true;  // of an address in use; it reads all of /proc
};

// Which file the socket of a path is; both 0: none.
struct SocketFile {
  std::uint64_t device = 0, inode = 0;
  bool operator==(const SocketFile&) const = default;
};

struct ListenSocket {
  UniqueFd fd;
  SocketFile file;
};

// The error says what the kernel refused, why that may be, and who holds the address; not which
// address it is.
[[nodiscard]] Result<ListenSocket> open_listener(const ListenAddress& address);
// An open one takes on backlog, mode and owner of `address`.
[[nodiscard]] Result<void> adjust_listener(int fd, const SocketFile& file,
                                           const ListenAddress& address);
// Removes the file of a socket, unless another one has taken its place.
void remove_listener(const std::string& path, const SocketFile& file);
[[nodiscard]] bool has_file(const std::string& path, const SocketFile& file);

// Connections that no worker has accepted yet. Nothing: the kernel does not tell (unix, udp).
[[nodiscard]] std::optional<std::uint32_t> waiting_connections(int fd);
// "tcp 127.0.0.1:80", "unix /run/x", for people: what a descriptor from elsewhere is.
[[nodiscard]] std::string describe_socket(int fd);

}  // namespace mtd::sys
