#include "daemon/control/router.h"

#include <stdexcept>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/varlink_json.h"

namespace mtd::control {
namespace {

using nlohmann::json;
using varlink::to_text;

constexpr std::string_view kInvalidParameter = "org.varlink.service.InvalidParameter";

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::read:
      return "read";
    case Tier::operate:
      return "operate";
    case Tier::admin:
      return "admin";
  }
  return {};
}

Routed refuse(std::string_view error, const json& parameters) {
  Routed routed;
  routed.error = error;
  routed.parameters = to_text(parameters);
  return routed;
}

Routed answer(std::string parameters) {
  Routed routed;
  routed.kind = Routed::Kind::answer;
  routed.parameters = std::move(parameters);
  return routed;
}

Routed refuse_access(const Interface& interface, const Peer& peer, std::string_view method,
                     std::optional<Tier> needed) {
  std::string message = escape_for_terminal(method) + " is refused: uid " +
                        std::to_string(peer.credentials.uid) + " has ";
  message += peer.tier ? "the access tier " + std::string(tier_name(*peer.tier))
                       : std::string("no access to this socket");
  if (needed) message += ", " + std::string(tier_name(*needed)) + " is needed";
  Routed routed =
      refuse(full_error_name(interface, "PermissionDenied"), json{{"message", message}});
  routed.permission = true;
  return routed;
}

Routed refuse_upgrade(const varlink::CallMessage& call, bool needed) {
  return refuse(kInvalidParameter,
                json{{"parameter", "upgrade"},
                     {"message", std::string(call.member()) +
                                     (needed ? " upgrades the connection: upgrade must be true"
                                             : " does not upgrade the connection")}});
}

std::vector<varlink::Parameter> signature_of(const Method& method) {
  auto signature = varlink::parse_signature(method.parameters);
  // The table is ours: a row that does not parse is a mistake of the program.
  if (!signature) throw std::logic_error("bad signature of " + std::string(method.name));
  return *std::move(signature);
}

}  // namespace

std::string invalid_parameter(std::string_view parameter, std::string_view message) {
  return to_text(json{{"parameter", std::string(parameter)}, {"message", std::string(message)}});
}

std::string full_error_name(const Interface& interface, std::string_view name) {
  if (name.find('.') != std::string_view::npos) return std::string(name);
  return std::string(interface.name) + "." + std::string(name);
}

ControlRouter::ControlRouter(ServiceInfo info) : interface_(*info.interface) {
  info_ = to_text(json{{"vendor", info.vendor},
                       {"product", info.product},
                       {"version", info.version},
                       {"url", info.url},
                       {"interfaces", {varlink::kServiceInterface, interface_.name}}});
  description_ = to_text(json{{"description", interface_description(interface_)}});
  service_description_ = to_text(json{{"description", service_interface_description()}});
  for (const Method& method : interface_.methods) {
    signatures_.emplace(method.name, signature_of(method));
  }
}

Routed ControlRouter::route(varlink::CallMessage& call, const Peer& peer) const {
  if (!peer.tier) return refuse_access(interface_, peer, call.method, std::nullopt);
  const std::string_view interface = call.interface();
  if (interface == varlink::kServiceInterface) return route_service(call);
  if (interface == interface_.name) return route_own(call, peer);
  if (interface.empty()) {
    return refuse("org.varlink.service.MethodNotFound", json{{"method", call.method}});
  }
  return refuse("org.varlink.service.InterfaceNotFound",
                json{{"interface", std::string(interface)}});
}

Routed ControlRouter::route_service(varlink::CallMessage& call) const {
  const std::string_view name = call.member();
  const bool describes = name == "GetInterfaceDescription";
  if (!describes && name != "GetInfo") {
    return refuse("org.varlink.service.MethodNotFound", json{{"method", call.method}});
  }
  if (call.upgrade) return refuse_upgrade(call, false);
  const auto signature = varlink::parse_signature(describes ? "(interface: string)" : "()");
  if (const auto fault = varlink::check_parameters(*signature, *call.parameters)) {
    return refuse(kInvalidParameter,
                  json{{"parameter", fault->parameter}, {"message", fault->message}});
  }
  if (!describes) return answer(info_);
  const auto wanted = call.parameters->at("interface").get<std::string>();
  if (wanted == interface_.name) return answer(description_);
  if (wanted == varlink::kServiceInterface) return answer(service_description_);
  return refuse("org.varlink.service.InterfaceNotFound", json{{"interface", wanted}});
}

Routed ControlRouter::route_own(varlink::CallMessage& call, const Peer& peer) const {
  const Method* method = find_method(interface_, call.member());
  if (method == nullptr) {
    return refuse("org.varlink.service.MethodNotFound", json{{"method", call.method}});
  }
  if (!allows(peer.tier, method->tier))
    return refuse_access(interface_, peer, method->name, method->tier);
  if (const auto fault =
          varlink::check_parameters(signatures_.find(method->name)->second, *call.parameters)) {
    return refuse(kInvalidParameter,
                  json{{"parameter", fault->parameter}, {"message", fault->message}});
  }
  if (method->streaming == Streaming::required && !call.more) {
    return refuse("org.varlink.service.ExpectedMore", json::object());
  }
  if (call.upgrade != (method->streaming == Streaming::upgrade))
    return refuse_upgrade(call, !call.upgrade);
  Routed routed;
  routed.kind = Routed::Kind::dispatch;
  routed.method = method;
  return routed;
}

}  // namespace mtd::control
