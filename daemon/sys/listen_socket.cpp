#include "daemon/sys/listen_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/escape.h"
#include "daemon/sys/socket_owner.h"
#include "daemon/sys/umask_guard.h"

namespace mtd::sys {
namespace {

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un path;
};

Error refused(const std::string& what, int error) {
  return {what + ": " + std::strerror(error) + " (" + strerrorname_np(error) + ")", error};
}

std::string hint(int error, std::uint16_t port) {
  if (error == EACCES && port < 1024)
    return "; ports below 1024 are for root, or need CAP_NET_BIND_SERVICE";
  if (error == EADDRNOTAVAIL) return "; this machine has no such address";
  return {};
}

socklen_t fill(const ListenAddress& wanted, int family, SocketAddress& address) {
  std::memset(&address, 0, sizeof address);
  const bool any = wanted.address == "*";
  if (family == AF_INET6) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(wanted.port);
    if (!any) ::inet_pton(AF_INET6, wanted.address.c_str(), &address.v6.sin6_addr);
    return sizeof address.v6;
  }
  address.v4.sin_family = AF_INET;
  address.v4.sin_port = htons(wanted.port);
  if (!any) ::inet_pton(AF_INET, wanted.address.c_str(), &address.v4.sin_addr);
  return sizeof address.v4;
}

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<ListenSocket> open_inet(const ListenAddress& wanted, int family) {
  const bool tcp = wanted.kind == ListenAddress::Kind::tcp;
  ListenSocket opened;
  opened.fd.reset(::socket(family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  if (!opened.fd) return refused("socket", errno);
  const int fd = opened.fd.get();
  // Without SO_REUSEADDR connections that have just ended hold the port. For UDP it would let a
  // stranger take the address as well.
  if (tcp && !set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return refused("SO_REUSEADDR", errno);
  if (wanted.reuse_port && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1))
    return refused("SO_REUSEPORT", errno);
  const bool both = wanted.address == "*";
  if (family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, both ? 0 : 1))
    return refused("IPV6_V6ONLY", errno);
  SocketAddress address;
  const socklen_t size = fill(wanted, family, address);
  int error = ::bind(fd, &address.any, size) == 0 ? 0 : errno;
  if (error == 0 && tcp && ::listen(fd, wanted.backlog) != 0) error = errno;
  if (error == EADDRINUSE) {
    const std::string owner = wanted.find_owner ? owner_of_port(tcp, wanted.port) : "";
    return Error{refused("bind", error).message + (owner.empty() ? "" : "; " + owner), error};
  }
  if (error != 0) return Error{refused("bind", error).message + hint(error, wanted.port), error};
  return opened;
}

Result<SocketAddress> unix_address(const std::string& path) {
  SocketAddress address;
  std::memset(&address, 0, sizeof address);
  address.path.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.path.sun_path) return refused("bind", ENAMETOOLONG);
  std::memcpy(address.path.sun_path, path.data(), path.size());
  return address;
}

SocketFile file_of(const struct stat& info) {
  return {info.st_dev, info.st_ino};
}

// What stands in the way of a unix socket is removed, or is the error.
Result<void> make_room(const ListenAddress& wanted, const SocketAddress& address) {
  struct stat info {};
  if (::lstat(wanted.address.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return Error{"there is a file of that name that is no socket; mtd does not remove it", EEXIST};
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return refused("socket", errno);
  const int error = ::connect(probe.get(), &address.any, sizeof address.path) == 0 ? 0 : errno;
  if (error != ECONNREFUSED) {  // somebody listens, or another kind of socket is there
    const std::string owner = wanted.find_owner ? owner_of_path(wanted.address) : "";
    return Error{refused("bind", EADDRINUSE).message + (owner.empty() ? "" : "; " + owner),
                 EADDRINUSE};
  }
  if (info.st_uid != ::geteuid() && info.st_uid != wanted.uid.value_or(::geteuid())) {
    return Error{"nobody serves the socket that is there, but it belongs to uid " +
                     std::to_string(info.st_uid) + "; mtd does not remove it",
                 EEXIST};
  }
  if (::unlink(wanted.address.c_str()) != 0) return refused("remove the stale socket", errno);
  return {};
}

// Through a descriptor of the very file that was bound: a name may be changed under our feet.
Result<void> own(const std::string& path, const SocketFile& file, const ListenAddress& wanted,
                 bool with_mode) {
  const UniqueFd opened(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!opened || ::fstat(opened.get(), &info) != 0) return refused("look at the socket", errno);
  if (file_of(info) != file || !S_ISSOCK(info.st_mode) || info.st_nlink != 1)
    return Error{"another file took the place of the socket", EEXIST};
  const uid_t uid = wanted.uid.value_or(::geteuid());
  const gid_t gid = wanted.gid.value_or(::getegid());
  if ((info.st_uid != uid || info.st_gid != gid) &&
      ::fchownat(opened.get(), "", uid, gid, AT_EMPTY_PATH) != 0) {
    return refused("give the socket to uid " + std::to_string(uid) + ", gid " + std::to_string(gid),
                   errno);
  }
  if (!with_mode || (info.st_mode & 0777) == wanted.mode) return {};
  const std::string link = "/proc/self/fd/" + std::to_string(opened.get());
  if (::chmod(link.c_str(), wanted.mode) != 0) return refused("change the mode", errno);
  return {};
}

Result<ListenSocket> open_unix(const ListenAddress& wanted) {
  const auto address = unix_address(wanted.address);
  if (!address) return address.error();
  if (auto room = make_room(wanted, *address); !room) return room.error();
  ListenSocket opened;
  opened.fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!opened.fd) return refused("socket", errno);
  int error = 0;
  {
    const UmaskGuard mask(static_cast<mode_t>(~wanted.mode & 0777U));
    if (::bind(opened.fd.get(), &address->any, sizeof address->path) != 0) error = errno;
  }
  if (error == ENOENT)
    return Error{refused("bind", error).message + "; its directory is missing", error};
  if (error != 0) return refused("bind", error);
  struct stat info {};
  if (::lstat(wanted.address.c_str(), &info) != 0) return refused("look at the socket", errno);
  opened.file = file_of(info);
  if (auto done = own(wanted.address, opened.file, wanted, false); !done) {
    remove_listener(wanted.address, opened.file);
    return done.error();
  }
  if (::listen(opened.fd.get(), wanted.backlog) != 0) {
    error = errno;
    remove_listener(wanted.address, opened.file);
    return refused("listen", error);
  }
  return opened;
}

}  // namespace

Result<ListenSocket> open_listener(const ListenAddress& address) {
  if (address.kind == ListenAddress::Kind::unix_stream) return open_unix(address);
  if (address.address != "*") {
    return open_inet(address, address.address.find(':') == std::string::npos ? AF_INET : AF_INET6);
  }
  auto both = open_inet(address, AF_INET6);
  const bool no_v6 = !both && (both.error().errno_value == EAFNOSUPPORT ||
                               both.error().errno_value == EADDRNOTAVAIL);
  return no_v6 ? open_inet(address, AF_INET) : std::move(both);
}

Result<void> adjust_listener(int fd, const SocketFile& file, const ListenAddress& address) {
  if (address.kind != ListenAddress::Kind::udp && ::listen(fd, address.backlog) != 0)
    return refused("listen", errno);
  if (address.kind != ListenAddress::Kind::unix_stream) return {};
  return own(address.address, file, address, true);
}

void remove_listener(const std::string& path, const SocketFile& file) {
  if (has_file(path, file)) ::unlink(path.c_str());
}

bool has_file(const std::string& path, const SocketFile& file) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) && file_of(info) == file;
}

std::optional<std::uint32_t> waiting_connections(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_state != TCP_LISTEN)
    return std::nullopt;
  return info.tcpi_unacked;  // of a listening socket: the length of its queue, tcp(7)
}

std::string describe_socket(int fd) {
  SocketAddress address;
  std::memset(&address, 0, sizeof address);
  socklen_t size = sizeof address;
  int type = 0;
  socklen_t type_size = sizeof type;
  if (::getsockname(fd, &address.any, &size) != 0 ||
      ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0) {
    return "no socket";
  }
  const std::string kind = type == SOCK_DGRAM ? "udp " : "tcp ";
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (address.any.sa_family) {
    case AF_INET:
      ::inet_ntop(AF_INET, &address.v4.sin_addr, text.data(), text.size());
      return kind + text.data() + ":" + std::to_string(ntohs(address.v4.sin_port));
    case AF_INET6:
      ::inet_ntop(AF_INET6, &address.v6.sin6_addr, text.data(), text.size());
      return kind + "[" + text.data() + "]:" + std::to_string(ntohs(address.v6.sin6_port));
    case AF_UNIX:
      return "unix " + escape_for_terminal(address.path.sun_path);
    default:
      return "a socket of family " + std::to_string(address.any.sa_family);
  }
}

}  // namespace mtd::sys
