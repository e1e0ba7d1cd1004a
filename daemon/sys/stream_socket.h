// Stream sockets of the server side: accept with the peer's credentials, receive, send. Never
// blocks, never raises SIGPIPE, and takes no ancillary data: descriptors a peer passes are dropped
// by the kernel (recv(2) without a control buffer).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"

namespace mtd::sys {

struct AcceptedSocket {
  UniqueFd fd;
  uid_t uid = static_cast<uid_t>(-1);  // SO_PEERCRED: as of connect
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;  // SO_PEERGROUPS
};

enum class AcceptOutcome {
  accepted,
  nothing_waits,   // or the client went away again
  no_descriptors,  // EMFILE, ENFILE: the client still waits in the backlog
  failed,          // anything else; trying again at once would not help
};

[[nodiscard]] AcceptOutcome accept_socket(int listener, AcceptedSocket& accepted);

struct Transfer {
  enum class Outcome { done, would_block, ended, broken };  // ended: the peer sends no more
  Outcome outcome = Outcome::done;
  std::size_t bytes = 0;
};

[[nodiscard]] Transfer receive_bytes(int fd, std::span<char> into);
[[nodiscard]] Transfer send_bytes(int fd, std::string_view bytes);

// A descriptor to give up when there is no other left. May be invalid, when there is none.
[[nodiscard]] UniqueFd spare_descriptor();

}  // namespace mtd::sys
