#include "daemon/control/access.h"

#include <algorithm>

namespace mtd::control {
namespace {

bool is_member(const Credentials& credentials, std::optional<gid_t> group) {
  return group && (credentials.gid == *group ||
                   std::find(credentials.groups.begin(), credentials.groups.end(), *group) !=
                       credentials.groups.end());
}

}  // namespace

Peer classify(const AccessPolicy& policy, Credentials credentials) {
  Peer peer;
  peer.privileged = credentials.uid == 0 || credentials.uid == policy.owner;
  if (peer.privileged) {
    peer.tier = Tier::admin;
  } else if (is_member(credentials, policy.operate_group)) {
    peer.tier = Tier::operate;
  } else if (is_member(credentials, policy.readonly_group)) {
    peer.tier = Tier::read;
  }
  peer.credentials = std::move(credentials);
  return peer;
}

bool allows(std::optional<Tier> held, Tier needed) {
  return held && *held >= needed;
}

}  // namespace mtd::control
