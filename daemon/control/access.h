// Who may do what: maps the credentials the kernel gave for a peer to an access tier. Pure.
// uid 0 and the daemon's own uid: admin. The operate group: operate. The read-only group: read.
// Everybody else: none.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "common/control_methods.h"

namespace mtd::control {

struct Credentials {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;              // as of connect; 0: outside our pid namespace
  std::vector<gid_t> groups;  // supplementary ones
};

struct Peer {
  Credentials credentials;
  std::optional<Tier> tier;  // nullopt: may call nothing
  // uid 0 or the daemon's own: slots and a descriptor are held back for them.
  bool privileged = false;
};

struct AccessPolicy {
  uid_t owner = 0;                      // the daemon's own uid
  std::optional<gid_t> operate_group;   // control.group
  std::optional<gid_t> readonly_group;  // control.readonly_group
};

[[nodiscard]] Peer classify(const AccessPolicy& policy, Credentials credentials);
[[nodiscard]] bool allows(std::optional<Tier> held, Tier needed);

}  // namespace mtd::control
