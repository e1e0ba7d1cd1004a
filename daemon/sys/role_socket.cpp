#include "daemon/sys/role_socket.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::sys {

namespace {

// Nobody who stops reading, and no signal that means nothing here, may end this process. The keeper
// acts on those that mean something; faults of our own keep their default.
void ignore_strange_signals() {
  for (const int number :
       {SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGIO, SIGPWR, SIGSTKFLT}) {
    (void)::signal(number, SIG_IGN);
  }
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number)
    (void)::signal(number, SIG_IGN);
}

}  // namespace

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

}  // namespace mtd::sys
