#include "common/varlink_message.h"

#include <nlohmann/json.hpp>

#include "common/varlink_json.h"

namespace mtd::varlink {
namespace {

using nlohmann::json;

CallFault take_flag(const json& value, const std::string& name, bool& flag) {
  if (!value.is_boolean()) return {name, name + " must be true or false"};
  flag = value.get<bool>();
  return {};
}

CallFault take_member(CallMessage& call, const std::string& name, json& value) {
  if (name == "method") {
    if (!value.is_string()) return {name, "method must be a string"};
    call.method = value.get<std::string>();
    return {};
  }
  if (name == "parameters") {
    if (value.is_null()) return {};
    if (!value.is_object()) return {name, "parameters must be an object"};
    *call.parameters = std::move(value);
    return {};
  }
  if (name == "more") return take_flag(value, name, call.more);
  if (name == "oneway") return take_flag(value, name, call.oneway);
  if (name == "upgrade") return take_flag(value, name, call.upgrade);
  return {name, "a call has the members method, parameters, more, oneway and upgrade only"};
}

}  // namespace

CallMessage::CallMessage() : parameters(std::make_unique<json>(json::object())) {}
CallMessage::CallMessage(CallMessage&&) noexcept = default;
CallMessage& CallMessage::operator=(CallMessage&&) noexcept = default;
CallMessage::~CallMessage() = default;

std::string_view CallMessage::interface() const {
  const std::size_t dot = method.rfind('.');
  return dot == std::string::npos ? std::string_view() : std::string_view(method).substr(0, dot);
}

std::string_view CallMessage::member() const {
  const std::size_t dot = method.rfind('.');
  return std::string_view(method).substr(dot == std::string::npos ? 0 : dot + 1);
}

std::variant<CallMessage, CallFault> parse_call(std::string_view frame) {
  auto parsed = parse_json(frame);
  if (!parsed) return CallFault{"call", parsed.error().message, true};
  if (!parsed->is_object()) return CallFault{"call", "a call is a JSON object", true};
  CallMessage call;
  for (auto member = parsed->begin(); member != parsed->end(); ++member) {
    CallFault fault = take_member(call, member.key(), member.value());
    if (!fault.parameter.empty()) return fault;
  }
  if (call.method.empty()) return CallFault{"method", "method is missing"};
  if (call.more && call.oneway) {
    return CallFault{"oneway", "a call cannot be both more and oneway"};
  }
  if (call.upgrade && (call.more || call.oneway)) {
    return CallFault{"upgrade", "a call that upgrades has one answer: neither more nor oneway"};
  }
  return call;
}

std::string reply_message(std::string_view parameters_text, bool continues) {
  std::string text = "{\"parameters\":";
  text += parameters_text;
  if (continues) text += ",\"continues\":true";
  text += '}';
  text += '\0';
  return text;
}

std::string error_message(std::string_view error, std::string_view parameters_text) {
  std::string text = "{\"error\":\"";
  text += error;
  text += "\",\"parameters\":";
  text += parameters_text;
  text += '}';
  text += '\0';
  return text;
}

std::string call_message(std::string_view method, const json& parameters, bool more) {
  std::string text = "{\"method\":" + to_text(json(std::string(method)));
  text += ",\"parameters\":" + to_text(parameters.is_object() ? parameters : json::object());
  if (more) text += ",\"more\":true";
  text += '}';
  text += '\0';
  return text;
}

}  // namespace mtd::varlink
