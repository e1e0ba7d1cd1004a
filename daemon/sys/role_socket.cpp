#include "daemon/sys/role_socket.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/privileges.h"

namespace mtd::sys {

Result<UniqueFd> take_role_socket() {
  int type = 0, domain = 0;
  socklen_t size = sizeof(type);
  const int fd = keeper::kRoleSocketFd;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    return Error{"this program is a part of mtd and is started by it (no keeper at descriptor 3)"};
  }
  size = sizeof(domain);
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return Error{"descriptor 3 is no Unix socket"};
  }
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
    return Error::from_errno("prepare the keeper's socket", errno);
  }
  ignore_strange_signals();
  // Executed by a descriptor, of which some kernels make the name.
  ::prctl(PR_SET_NAME, "mtd-supervisor");
  return UniqueFd(fd);
}

Result<UniqueFd> take_descriptor(int number) {
  if (::fcntl(number, F_SETFD, FD_CLOEXEC) != 0)
    return Error::from_errno("take descriptor " + std::to_string(number), errno);
  return UniqueFd(number);
}

}  // namespace mtd::sys
