// ControlRouter: what is to become of one parsed call: hand it to the handlers, answer it here
// (org.varlink.service), or refuse it (unknown method, tier too low, parameters that do not fit).
// Pure: it knows the method table, the service's name, and nothing of sockets.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/control_methods.h"
#include "common/varlink_message.h"
#include "common/varlink_signature.h"
#include "daemon/control/access.h"
#include "daemon/control/server.h"

namespace mtd::control {

struct Routed {
  enum class Kind { dispatch, answer, refuse };
  Kind kind = Kind::refuse;
  const Method* method = nullptr;  // of dispatch
  std::string error;               // of refuse, in full
  std::string parameters;          // of answer and refuse: a JSON object
  bool permission = false;         // refused because of the caller's tier
};

class ControlRouter {
 public:
  explicit ControlRouter(ServiceInfo info);
  // Removes null members of optional parameters from `call`.
  [[nodiscard]] Routed route(varlink::CallMessage& call, const Peer& peer) const;
  [[nodiscard]] const Interface& interface() const { return interface_; }

 private:
  [[nodiscard]] Routed route_service(varlink::CallMessage& call) const;
  [[nodiscard]] Routed route_own(varlink::CallMessage& call, const Peer& peer) const;

  const Interface& interface_;
  std::string info_;         // answer of GetInfo
  std::string description_;  // of the interface, as an answer
  std::string service_description_;
  std::map<std::string, std::vector<varlink::Parameter>, std::less<>> signatures_;
};

// {"parameter":…,"message":…}: the parameters of InvalidParameter.
[[nodiscard]] std::string invalid_parameter(std::string_view parameter, std::string_view message);
// "NoSuchPool" → "io.mtd.Manager.NoSuchPool", say; a name with a dot stays.
[[nodiscard]] std::string full_error_name(const Interface& interface, std::string_view name);

}  // namespace mtd::control
